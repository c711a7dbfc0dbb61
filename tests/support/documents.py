"""Reads the project's documents: their headings, their fenced blocks and tables, and what a comment says of a block.

A comment that stands before a block is for the tests alone, and says why the block is not as others are:

    <!-- not run: WHY -->     it is left alone
    <!-- runs on: WHY -->     it is a program that does not end by itself (commands that serve are known as such)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
FOR_THE_SITE = ("index.md", "compose.md", "command-line.md")
"""These are put together from others."""
DOCUMENTS = sorted(
    {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / name for name in FOR_THE_SITE}
)

SHELL = frozenset({"sh", "bash", "shell", "console"})
PYTHON = frozenset({"python", "py"})
JAVASCRIPT = frozenset({"js", "javascript"})
OUTPUT = "text"

_NOTE = re.compile(r"<!-- *(not run|runs on): *(\S.*?) *-->\s*", re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w/]+\.(?:py|toml|yaml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its text; what a comment says of it, and why."""

    place: str
    language: str
    text: str
    note: str = ""
    why: str = ""

    @property
    def file_name(self) -> str:
        """The file that the block is, as its first line says (`# shop/stock.py`), or an empty string."""
        found = _FILE_NAME.match(self.text)
        return found[1] if found else ""


@dataclass(frozen=True)
class Section:
    """A heading, and the blocks between it and the next one; `level` is 2 for `## …`."""

    document: str
    heading: str
    blocks: list[Block] = field(default_factory=list)
    level: int = 1

    def __str__(self) -> str:
        return f"{self.document}:{self.heading}"


def read_sections(path: Path) -> list[Section]:
    """The sections of a document. Raises ValueError for a comment before a block that is not understood."""
    sections = [Section(path.name, "(top)")]
    comment = ""
    tokens = _tokens(path)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            sections.append(Section(path.name, following.content.replace("`", ""), level=int(token.tag[1:])))
        elif token.type == "html_block":
            comment = token.content
        elif token.type == "fence":
            sections[-1].blocks.append(_block(path, token, comment))
        if token.type != "html_block":
            comment = ""
    return sections


def read_tables(path: Path) -> Iterator[list[list[str]]]:
    """The tables of a document: rows of cells, the head first, as they are written."""
    rows: list[list[str]] = []
    for token in _tokens(path):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level and rows:
            rows[-1].append(token.content)
        elif token.type == "table_close":
            yield rows
            rows = []


def program(name: str, language: str) -> str:
    """The text of a document's one block in a language."""
    sections = read_sections(ROOT / "docs" / name)
    (text,) = [block.text for section in sections for block in section.blocks if block.language == language]
    return text


def _tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))


def _block(path: Path, token: Token, comment: str) -> Block:
    place = f"{path.name}:{token.map[0] + 1 if token.map else 0}"
    note = _NOTE.fullmatch(comment)
    if comment and note is None:
        raise ValueError(f"{place}: {comment.strip()} is neither <!-- not run: WHY --> nor <!-- runs on: WHY -->")
    return Block(place, token.info.strip(), token.content, *(note.groups() if note else ()))
