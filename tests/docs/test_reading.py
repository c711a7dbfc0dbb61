"""How the tests read documents, and follow them: what would let a broken block pass is an error."""

import pytest
from support.documents import Block, Section, read_sections, read_tables
from support.node import node_command
from support.walkthrough import Walkthrough


def document(folder, text):
    path = folder / "guide.md"
    path.write_text(text, "utf-8")
    return path


def walk(folder, *sections):
    working = folder / "folder"
    working.mkdir()
    return Walkthrough(list(sections), working, collector="")


def follow(folder, *texts, language="sh"):
    """Follow a document with one heading, and a block for each text; returns the folder that it was followed in."""
    section = Section("guide.md", "Begin", [Block(f"guide.md:{n}", language, text) for n, text in enumerate(texts)])
    walkthrough = walk(folder, section)
    try:
        walkthrough.follow(section)
    finally:
        walkthrough.close()
    return folder / "folder"


def test_blocks_belong_to_their_headings(tmp_path):
    text = "```sh\nfirst\n```\n# A `guide`\n```sh\nsecond\n```\n## More\n- a list\n\n  ```python\n  third\n  ```\n"
    top, guide, more = read_sections(document(tmp_path, text))
    assert [str(section) for section in (top, guide, more)] == ["guide.md:(top)", "guide.md:A guide", "guide.md:More"]
    assert [section.blocks[0].text for section in (top, guide, more)] == ["first\n", "second\n", "third\n"]
    assert (more.blocks[0].language, more.blocks[0].place) == ("python", "guide.md:11")


def test_a_comment_speaks_of_the_next_block_alone(tmp_path):
    text = "<!-- not run: it needs\nthe network -->\n```sh\nmake\n```\n```sh\ntrue\n```\n<!-- a remark -->\n\nText\n"
    (section,) = read_sections(document(tmp_path, text))
    assert [(block.note, block.why) for block in section.blocks] == [("not run", "it needs\nthe network"), ("", "")]


@pytest.mark.parametrize("comment", ["<!-- not run -->", "<!-- not run: -->", "<!-- skip: it is slow -->"])
def test_a_comment_that_does_not_say_why_is_an_error(tmp_path, comment):
    with pytest.raises(ValueError, match=r"guide.md:2: <!--"):
        read_sections(document(tmp_path, f"{comment}\n```sh\nmake\n```\n"))


def test_tables_are_rows_of_cells(tmp_path):
    text = "| a | b |\n|---|---|\n| 1 | `2` |\n\ntext\n\n| c |\n|---|\n| 3 |\n"
    assert list(read_tables(document(tmp_path, text))) == [[["a", "b"], ["1", "`2`"]], [["c"], ["3"]]]


def test_what_a_command_exports_and_where_it_goes_holds_for_the_next(tmp_path):
    folder = follow(tmp_path, "export COLOUR='two\nlines'\nmkdir -p a && cd a", 'printf "$COLOUR" > here')
    assert (folder / "a" / "here").read_text() == "two\nlines"


def test_a_block_whose_first_line_names_a_file_is_written_down(tmp_path):
    folder = follow(tmp_path, "# shop/stock.py\nraise SystemExit(1)\n", language="python")
    assert (folder / "shop" / "stock.py").read_text() == "# shop/stock.py\nraise SystemExit(1)\n"


@pytest.mark.parametrize(
    ("text", "language"),
    [("false\ntrue\n", "sh"), ("false | true\n", "sh"), ("raise ValueError", "python"), ("snowbus consume x\n", "sh")],
)
def test_a_block_that_fails_fails_where_it_stands(tmp_path, text, language):
    with pytest.raises(AssertionError) as failed:
        follow(tmp_path, text, language=language)
    assert failed.value.__notes__ == ["in the block at guide.md:0"]


def test_what_comes_after_a_failure_is_not_run(tmp_path):
    sections = [Section("guide.md", name, [Block("guide.md:1", "sh", "false")]) for name in ("One", "Two")]
    walkthrough = walk(tmp_path, *sections)
    for section, reason in zip(sections, ("exit code 1", "guide.md:One failed"), strict=True):
        with pytest.raises(AssertionError, match=reason):
            walkthrough.follow(section)


def test_output_that_does_not_come_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("support.walkthrough._SECONDS", 0.1)
    section = Section("guide.md", "Begin", [Block("", "sh", "echo one two three"), Block("", "text", "one … three")])
    wrong = Section("guide.md", "More", [Block("", "text", "one … three")])
    walkthrough = walk(tmp_path, section, wrong)
    walkthrough.follow(section)
    with pytest.raises(AssertionError):
        walkthrough.follow(wrong)


@pytest.mark.node
@pytest.mark.skipif(node_command() is None, reason="no Node with its packages")
def test_a_block_of_javascript_is_run_and_has_a_websocket(tmp_path):
    folder = follow(tmp_path, 'require("fs").writeFileSync("found", typeof WebSocket)', language="js")
    assert (folder / "found").read_text() == "function"
    another = tmp_path / "another"
    another.mkdir()
    with pytest.raises(AssertionError, match="exit code 1"):
        follow(another, "throw new Error()", language="js")
