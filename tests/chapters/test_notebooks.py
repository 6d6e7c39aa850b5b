"""The executed notebooks belong to their sources, show what they should, and say nothing of the machine."""

import re

import jupytext
import nbformat
import notebooks
import pytest
import times

SOURCES = notebooks.sources()
SLUGS = [
    "00_welcome",
    "01_why_a_sphere",
    "02_von_mises_fisher",
    "03_bessel",
    "04_sampling",
    "05_gradients",
    "06_kl_divergence",
    "07_n_vae",
    "08_s_vae",
    "09_unsupervised",
    "10_semi_supervised_m1",
    "11_semi_supervised_m1m2",
    "12_link_prediction",
    "13_beyond",
    "14_reproduction_report",
]
every_chapter = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
# Code cells that show nothing: definitions, imports and assertions.
SILENT = re.compile(r"plotting\.show\(|^\s*print\(", re.MULTILINE)


def executed(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def text_of(output) -> str:
    return output.get("text", "") + "".join(output.get("data", {}).get(kind, "") for kind in ("text/plain",))


def test_the_slugs_are_final() -> None:
    assert [source.stem for source in SOURCES][: len(SLUGS)] == SLUGS


@every_chapter
def test_source_and_notebook_agree(source) -> None:
    assert notebooks.is_current(source), f"run: make chapters (chapters/{source.stem}.py has changed)"
    notebook = executed(source)
    nbformat.validate(notebook)
    assert notebook.metadata["hvae_tutorial"]["seconds"] in times.CLASSES
    assert [cell.id for cell in notebook.cells] == [f"cell-{n:03d}" for n in range(len(notebook.cells))]


@every_chapter
def test_the_code_of_pictures_and_checks_is_folded(source) -> None:
    for cell in executed(source).cells:
        folded = bool({"picture", "checks"}.intersection(cell.metadata.get("tags", [])))
        if folded:
            assert cell.metadata["jupyter"]["source_hidden"] is True  # in Jupyter
            assert cell.metadata["cellView"] == "form"  # in Colab


@every_chapter
def test_every_cell_has_run_and_shows_what_it_should(source) -> None:
    cells = [cell for cell in executed(source).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        if SILENT.search(cell.source):
            assert cell.outputs, cell.source
        assert not any(output.output_type == "error" for output in cell.outputs)
    assert sum(bool(cell.outputs) for cell in cells) >= 4


@every_chapter
def test_outputs_have_no_warning_and_no_path(source) -> None:
    for cell in executed(source).cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr"
            assert not re.search(r"Warning|(?<![\w.])/(?:\w+/)+\w|[A-Z]:\\", text_of(output)), text_of(output)


@every_chapter
def test_figures_have_captions_and_descriptions(source) -> None:
    number = source.stem[:2].lstrip("0") or "0"
    figures = []
    for cell in executed(source).cells:
        outputs = cell.get("outputs", [])
        for position, output in enumerate(outputs):
            if "image/svg+xml" in output.get("data", {}):
                assert len(output.metadata["image/svg+xml"]["alt"].split()) >= 5
                figures.append(outputs[position + 1].data["text/markdown"])
    assert 1 <= len(figures) <= 8 if number == "0" else 3 <= len(figures) <= 8
    for count, caption in enumerate(figures, start=1):
        assert caption.startswith(f"**Figure {number}.{count}.** "), caption


@every_chapter
def test_the_parts_of_a_chapter_and_its_length(source) -> None:
    cells = jupytext.read(source).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    seen = "\n".join(cell.source for cell in cells if not notebooks.FOLDED_TAGS & set(cell.metadata.get("tags", [])))
    assert prose.startswith("# ")
    if source.stem == "00_welcome":
        return
    sections = re.findall(r"^## (.+)$", prose, flags=re.MULTILINE)
    for part in ("The trap", "The library's version", "Test yourself", "Exercises", "Summary", "References"):
        assert any(section.startswith(part) for section in sections), f"no section: {part}"
    assert prose.count("<details") >= 2
    assert 1500 <= len(re.findall(r"\S+", seen)) <= 5000
    assert len(re.findall(r"^\s*assert ", code, flags=re.MULTILINE)) >= 8


@every_chapter
def test_the_build_and_nobody_else_says_how_long_it_takes(source) -> None:
    first = next(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "markdown")
    assert re.findall(r"^\*\*Time\*\*.*$", first, flags=re.MULTILINE) == ["**Time**"]


@every_chapter
def test_maths_is_written_so_that_it_is_typeset(source) -> None:
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "markdown":
            assert cell.source.count("$$") % 2 == 0, cell.source
            for line in cell.source.splitlines():
                assert "$$" not in line or line.strip() == "$$", line
