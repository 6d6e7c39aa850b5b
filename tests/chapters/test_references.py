"""A citation leads to the list of references of its chapter, and each reference leads out of the course."""

import re
from pathlib import Path

import exercise_cells
import jupytext
import notebooks
import pytest
import references


def texts(source: Path) -> list[str]:
    """The Markdown of a chapter, exercises included, before its citations are written out."""
    cells = exercise_cells.with_solutions(jupytext.read(source).cells)
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda path: path.stem)
def test_what_a_chapter_cites_is_in_its_list(source: Path) -> None:
    written = "\n\n".join(texts(source))
    items = references.listed(written.partition("\n## References\n")[2])
    assert len(items) == len(set(items))
    assert set(references.cited(written)) == set(items)
    assert set(items) <= references.entries().keys()


@pytest.mark.parametrize("key", references.entries())
def test_a_reference_leads_outside(key: str) -> None:
    text = references.reference(references.entries()[key])
    assert re.search(r"\]\(https?://[^\s)]+\)\.$", text)
    assert "{" not in text


def test_citations_and_items_are_written_out() -> None:
    written = references.expanded("See [@davidson2018, equation\n14] and [@wood1994].\n\n- [@wood1994] Its $b$.\n")
    assert "See [Davidson et al. (2018, equation 14)](#ref-davidson2018) and [Wood (1994)](#ref-wood1994)." in written
    assert (
        '- <a id="ref-wood1994"></a>A. T. A. Wood (1994). *Simulation of the von Mises Fisher Distribution*. '
        in written
    )
    assert written.endswith("(https://doi.org/10.1080/03610919408813161). Its $b$.\n")


def test_works_are_named_by_their_authors() -> None:
    known = references.entries()
    assert references.label(known["kato2020"]) == "Kato and McCullagh (2020)"
    assert references.label(known["decao2020"]) == "De Cao and Aziz (2020)"
    assert references.label(known["graphnet"], "line 3") == "graphnet, issue 900, line 3"


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(KeyError, match=r"'wood1993' is not in references\.bib"):
        references.expanded("[@wood1993]")


def test_every_work_is_cited() -> None:
    listed = {key for source in notebooks.sources() for text in texts(source) for key in references.listed(text)}
    assert listed == references.entries().keys()
