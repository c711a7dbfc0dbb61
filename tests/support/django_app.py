"""The app of web_apps.py as one of Django: its settings are made once in a process, the app is each test's."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import django
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.template import engines
from django.urls import path
from support.web_apps import Gate, track

from snowbus.producers.web import Tracking

_TRACKING = "snowbus.producers.web.django.TrackingMiddleware"

tracking: Tracking
gate: Gate


def _gate_wait() -> None:
    gate.wait()


def _untracked(request: Any) -> HttpResponse:
    return HttpResponse("untracked")


def _view(request: Any) -> HttpResponse:
    track("view")
    return HttpResponse("view")


async def _async(request: Any) -> HttpResponse:
    track("async")
    return HttpResponse("async")


def _raises(request: Any) -> HttpResponse:
    track("raises")
    raise RuntimeError("the view's own")


def _streams(request: Any) -> StreamingHttpResponse:
    def stream() -> Iterator[bytes]:
        track("stream-first")
        yield b"first"
        _gate_wait()
        track("stream-last")
        yield b"last"

    async def astream() -> AsyncIterator[bytes]:
        track("stream-first")
        yield b"first"
        await anyio.to_thread.run_sync(_gate_wait)
        track("stream-last")
        yield b"last"

    return StreamingHttpResponse(astream() if hasattr(request, "scope") else stream())


def _page(request: Any) -> HttpResponse:
    template = engines["django"].from_string("<script>contexts = {% contexts_json %}</script>")
    return HttpResponse(template.render(request=request))


def _text(request: Any) -> HttpResponse:
    text = engines["django"].from_string("{% contexts_json %}").render()
    track("text")
    return HttpResponse(text)


_VIEWS = (
    path("untracked", _untracked),
    path("view", _view),
    path("async", _async),
    path("raises", _raises),
    path("stream", _streams),
    path("page", _page),
    path("text", _text),
)


def only_for_threads(get_response: Any) -> Any:
    """A middleware that knows of no async, so that Django calls the view in the middle of it, from a thread."""
    return get_response


def django_app(tracking_: Tracking, gate_: Gate, *, asgi: bool, has_plain_middleware: bool = False) -> Any:
    global tracking, gate
    tracking, gate = tracking_, gate_
    configure()
    # These look at the settings when they are imported.
    from django.core.handlers.asgi import ASGIHandler  # noqa: PLC0415
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415

    from snowbus.producers.web.django import tracking_endpoint  # noqa: PLC0415

    settings.MIDDLEWARE = [_TRACKING, *([f"{__name__}.only_for_threads"] if has_plain_middleware else [])]
    settings.ROOT_URLCONF = (*_VIEWS, tracking_endpoint()) if tracking.endpoint else _VIEWS
    return ASGIHandler() if asgi else WSGIHandler()


def configure() -> None:
    """Make Django's settings; the database of who uses it is to be named yet."""
    if settings.configured:
        return
    settings.configure(
        ALLOWED_HOSTS=["*"],
        LOGGING_CONFIG=None,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ""}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        SECRET_KEY="test",
        SNOWBUS_TRACKING=f"{__name__}.tracking",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "builtins": ["snowbus.producers.web.django_tags"],
                    "context_processors": ["django.template.context_processors.request"],
                },
            }
        ],
    )
    django.setup()
