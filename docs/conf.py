"""How Sphinx makes a site of these documents: `make site`."""

from pathlib import Path

from sphinx.application import Sphinx

import snowbus.bus.version
from snowbus.cli import commands_docs

HERE = Path(__file__).parent

project = "Snowbus"
release = snowbus.bus.version.version()
copyright = "the Snowbus contributors"  # noqa: A001 - Sphinx's name for it

extensions = ["myst_parser", "sphinx.ext.autodoc"]
default_role = "code"  # what stands in backticks in a docstring
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!snowbus\.).*"),  # of other projects, whose documents are elsewhere
    ("py:.*", r"snowbus\..*\.(P|R)"),  # type variables
    ("py:.*", r"snowbus\..*\.(Asked|Behaviour|Destination|Intent|Options)"),  # bases that nobody names
    ("py:.*", r"snowbus\..*\.(Emitter|ScriptJson|Settings)"),  # what is told where it is taken or given
    ("py:.*", r"snowbus\.consumers\.verify\..*\.(Outcome|Plan)"),  # likewise
]

html_theme = "furo"
html_title = f"Snowbus {release}"
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Write the page that is made of the command line, and let what links to files out of here find them."""
    (HERE / "command-line.md").write_text(commands_docs.render(), "utf-8")
    app.connect("source-read", _link_inside)


def _link_inside(_app: Sphinx, _name: str, source: list[str]) -> None:
    source[0] = source[0].replace("](../README.md", "](index.md").replace("](../compose/README.md", "](compose.md")
