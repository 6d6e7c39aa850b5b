"""How long a chapter takes is computed: from its words, its formulas and its exercises, and by a clock."""

import nbformat
import notebooks
import pytest
import times
from nbformat.v4 import new_markdown_cell, new_notebook

from hvae_tutorial.exercises import find

FORMULA = "\n$$\na + b = c\n$$\n"


@pytest.mark.parametrize(
    ("prose", "minutes"),
    [
        ("word " * 1500, 10),
        (("word " * 150 + "\n") * 30, 30),
        (FORMULA * 10, 30),  # whose letters are not counted as words
        (FORMULA * 10 + "word " * 1500, 40),
        ("A word.", 5),
    ],
)
def test_reading_takes_a_minute_for_150_words_and_three_for_a_formula(prose: str, minutes: int) -> None:
    assert times.reading(prose) == minutes


def test_exercises_are_counted_as_they_say_and_not_read() -> None:
    cells = [new_markdown_cell("word " * 1500)]
    cells += [new_markdown_cell(f"ch05.{n}", metadata={"tags": ["exercise"]}) for n in (1, 2)]
    minutes = find("ch05.1").minutes + find("ch05.2").minutes
    assert times.of_source(cells) == (10, minutes)


@pytest.mark.parametrize(("minutes", "read"), [((45, 60), (45, 60)), ((15, 0), (15, 0))])
def test_the_line_is_read_as_it_is_written(minutes: tuple[int, int], read: tuple[int, int]) -> None:
    notebook = new_notebook(cells=[new_markdown_cell(f"# Title\n\n{times.line(minutes)}")])
    notebook.metadata["hvae_tutorial"] = {"seconds": 30}
    assert times.of_notebook(notebook) == times.Times(*read, 30)
    assert times.of_notebook(new_notebook(cells=[new_markdown_cell("# Title")])) == times.Times(0, 0, 0)


@pytest.mark.parametrize(("seconds", "words"), [(20, "20 s"), (60, "1 min"), (120, "2 min")])
def test_run_times_in_words(seconds: int, words: str) -> None:
    assert times.Times(1, 1, seconds).running == words


@pytest.mark.parametrize(
    ("seconds", "before", "kept"),
    [
        (7, 0, 10),
        (31, 0, 60),
        (31, 30, 30),  # a slower machine does not change the notebook
        (37, 30, 60),
        (17, 30, 30),
        (12, 30, 20),
        (4000, 0, 600),
    ],
)
def test_a_run_time_changes_only_when_it_has_clearly_left_its_class(seconds: float, before: int, kept: int) -> None:
    assert times.run_class(seconds, before) == kept


SOURCE = """\
# %% [markdown]
# # Small
#
# **Time**: 999 minutes.

# %%
print(1 + 1)
"""


def test_the_build_completes_the_line_and_keeps_a_run_time(tmp_path) -> None:
    source = tmp_path / "00_small.py"
    source.write_text(SOURCE, encoding="utf-8")
    notebooks.build(source)
    first = source.with_suffix(".ipynb").read_bytes()
    built = nbformat.reads(first.decode(), as_version=4)
    assert built.cells[1].source.endswith("**Time**: about 5 minutes to read.")
    assert built.metadata["hvae_tutorial"]["seconds"] in times.CLASSES
    assert len(built.cells) == 3  # the stopwatch is not among them
    assert notebooks.is_current(source)
    notebooks.build(source)
    assert source.with_suffix(".ipynb").read_bytes() == first
