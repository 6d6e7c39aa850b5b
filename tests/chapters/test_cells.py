"""A cell teaches, draws, says or checks: all but what teaches is folded, and what teaches is short."""

import ast
import re
from pathlib import Path

import jupytext
import notebooks
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

VISIBLE_LINES = 150  # of a chapter, without those of exercises

every_chapter = pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)


def calls(node: ast.AST, name: str) -> list[ast.Call]:
    """The calls of a function, by the name that is written."""
    return [call for call in ast.walk(node) if isinstance(call, ast.Call) and ast.unparse(call.func) == name]


def last(tree: ast.Module) -> str:
    """The function that a cell ends with a call of; nothing if it ends otherwise."""
    end = tree.body[-1] if tree.body else None
    return ast.unparse(end.value.func) if isinstance(end, ast.Expr) and isinstance(end.value, ast.Call) else ""


def says_checked(call: ast.Call) -> bool:
    """Whether what is printed begins with "Checked: "."""
    text = call.args[0] if call.args else None
    first = text.values[0] if isinstance(text, ast.JoinedStr) else text
    return isinstance(first, ast.Constant) and str(first.value).startswith("Checked: ")


def asserts(tree: ast.Module) -> bool:
    """Whether there is an assertion, of Python, of NumPy or of torch."""
    named = [ast.unparse(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call)]
    return any(isinstance(node, ast.Assert) for node in ast.walk(tree)) or any(".assert_" in name for name in named)


def faults(cell: NotebookNode) -> list[str]:
    """What a cell of a chapter's source has against the four kinds."""
    tags = set(cell.metadata.get("tags", []))
    tree = ast.parse(cell.source)
    shows, prints = calls(tree, "plotting.show"), calls(tree, "print")
    found = []
    if shows and "picture" not in tags:
        found.append("shows a figure without the tag `picture`")
    if "picture" in tags and (not shows or last(tree) not in {"plotting.show", "plotting.say"}):
        found.append("is a picture and does not end with plotting.show(...)")
    if "picture" in tags and asserts(tree):
        found.append("is a picture and asserts something")
    if "words" in tags and last(tree) not in {"plotting.say", "display"}:
        found.append("is of words and does not end with plotting.say(...) or display(...)")
    if "words" in tags and asserts(tree):
        found.append("is of words and asserts something")
    if "checks" in tags and not (len(prints) == 1 and says_checked(prints[0]) and last(tree) == "print"):
        found.append('is a check and does not end with its one print("Checked: ...")')
    if "checks" in tags and not asserts(tree):
        found.append("is a check and asserts nothing")
    if len(notebooks.FOLDED_TAGS & tags) > 1:
        found.append("is of two kinds")
    return found


def code(source: Path) -> list[NotebookNode]:
    return [cell for cell in jupytext.read(source).cells if cell.cell_type == "code"]


def visible_lines(cells: list[NotebookNode]) -> int:
    """The lines of code, without empty ones, that a reader sees."""
    shown = [cell for cell in cells if not notebooks.FOLDED_TAGS.intersection(cell.metadata.get("tags", []))]
    return sum(bool(line.strip()) for cell in shown for line in cell.source.splitlines())


@every_chapter
def test_every_cell_is_of_one_kind(source: Path) -> None:
    assert not [(cell.source.splitlines()[0], found) for cell in code(source) if (found := faults(cell))]


def unseen(cells: list[NotebookNode]) -> set[str]:
    """The names that visible code takes from folded code, and that no text before names as `name`."""
    seen, folded, found = set(), set(), set()
    for cell in cells:
        if cell.cell_type == "markdown":
            seen |= set(re.findall(r"`(\w+)`", cell.source))
            continue
        nodes = list(ast.walk(ast.parse(cell.source)))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        made = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        if notebooks.FOLDED_TAGS.intersection(cell.metadata.get("tags", [])):
            folded |= made
        else:
            found |= (names & folded) - made - seen
            seen |= made
    return found


@every_chapter
def test_visible_code_uses_what_a_reader_has_seen(source: Path) -> None:
    assert not unseen(jupytext.read(source).cells)


def test_names_from_folded_code_are_found() -> None:
    folded = new_code_cell("a = 1\ndef f(x): return x", metadata={"tags": ["words"]})
    assert unseen([folded, new_code_cell("b = f(a)")]) == {"a", "f"}
    assert unseen([new_code_cell("a = 0"), folded, new_code_cell("b = a")]) == set()
    assert unseen([folded, new_markdown_cell("It leaves `a` behind."), new_code_cell("b = a")]) == set()
    assert unseen([folded, new_code_cell("a = 2\nb = [a for x in [1]]")]) == set()


@every_chapter
def test_the_visible_code_is_short(source: Path) -> None:
    assert visible_lines(code(source)) <= VISIBLE_LINES


DRAWN = 'plotting.show(figure, "A", alt="B")'
CHECKED = 'print("Checked: two and two.")'


@pytest.mark.parametrize(
    ("text", "tag", "fault"),
    [
        ("x = 1", None, None),
        (DRAWN, "picture", None),
        (DRAWN, None, "without the tag"),
        (f"{DRAWN}\nplotting.say('C')", "picture", None),
        ("figure = 1", "picture", "does not end with"),
        (f"{DRAWN}\nx = 1", "picture", "does not end with"),
        (f"assert x\n{DRAWN}", "picture", "asserts something"),
        ("plotting.say('C')", "words", None),
        ("display(table)", "words", None),
        ("x = 1", "words", "does not end with"),
        ("assert x\nplotting.say('C')", "words", "asserts something"),
        (f"assert x\n{CHECKED}", "checks", None),
        (f"np.testing.assert_allclose(x, y)\n{CHECKED}", "checks", None),
        ('assert x\nprint(f"Checked: {x}.")', "checks", None),
        ('assert x\nprint("Checked: one\'s own, "\n    f"and {x}.")', "checks", None),
        ('assert x\nprint("Right.")', "checks", "its one print"),
        (CHECKED, "checks", "asserts nothing"),
        ("assert x", "checks", "its one print"),
        (f"assert x\nprint(x)\n{CHECKED}", "checks", "its one print"),
        (f"assert x\n{CHECKED}\ny = 1", "checks", "its one print"),
    ],
)
def test_the_checks_can_fail(text: str, tag: str | None, fault: str | None) -> None:
    found = faults(new_code_cell(text, metadata={"tags": [tag] if tag else []}))
    assert [fault in message for message in found] == [True] if fault else not found


def test_lines_are_counted_that_a_reader_sees() -> None:
    idea = new_code_cell("a = 1\n\nb = 2")
    folded = [new_code_cell("c = 3", metadata={"tags": [tag]}) for tag in ("picture", "words", "checks")]
    assert visible_lines([idea, *folded]) == 2
    assert visible_lines([idea, new_code_cell("d = 4", metadata={"tags": ["nbval-ignore-output"]})]) == 3
