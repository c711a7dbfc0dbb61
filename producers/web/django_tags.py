"""The template tag of Django: `{% contexts_json %}` in a `<script>` of a page."""

from typing import Any

from django.template import Context, Library

from .page import ScriptJson, contexts_json
from .tracked_request import current_request

register = Library()


@register.simple_tag(name="contexts_json", takes_context=True)  # type: ignore[untyped-decorator]
def contexts_json_tag(context: Context) -> ScriptJson:
    """The entities of the request that the page is rendered for; not every template is given it."""
    tracked = current_request()
    request: Any = context.get("request") or (tracked.request if tracked else None)
    return contexts_json(request)
