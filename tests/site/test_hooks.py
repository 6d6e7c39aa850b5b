"""What the site shows beside the files in docs/ is made from the chapters, the records and pyproject.toml alone."""

from types import SimpleNamespace

import hooks
import nbformat
import notebooks
import pytest
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from nbformat.v4 import new_markdown_cell, new_notebook

from hvae_tutorial import records
from hvae_tutorial.experiments.experiment import groups
from hvae_tutorial.experiments.registry import EXPERIMENTS

ADDRESS = "https://github.com/someone/hvae_tutorial"


@pytest.fixture
def config() -> MkDocsConfig:
    return load_config(str(notebooks.ROOT / "mkdocs.yml"))


@pytest.fixture
def addressed(monkeypatch: pytest.MonkeyPatch):
    """Pretend that pyproject.toml names a repository, or none."""

    def pretend(address: str) -> None:
        project = {**notebooks.project(), "urls": {"Repository": address}}
        monkeypatch.setattr(notebooks, "project", lambda: project)
        monkeypatch.setattr(hooks, "wheel", lambda: ("library.whl", b"wheel"))

    return pretend


def chapter_pages() -> list[str]:
    return [text for uri, text in hooks.published().items() if uri.startswith("chapters/") and uri.endswith(".md")]


def test_without_an_address_nothing_leads_to_a_repository(config: MkDocsConfig, addressed) -> None:
    addressed("")
    hooks.on_config(config)
    assert not config.repo_url
    assert not config.edit_uri
    assert "content.action.edit" not in config.theme["features"]
    for text in chapter_pages():
        assert "Open in Colab" not in text
        assert "blob/main" not in text
        assert "[Library](library.whl)" in text


def test_with_an_address_everything_leads_there(config: MkDocsConfig, addressed) -> None:
    addressed(ADDRESS)
    hooks.on_config(config)
    assert (config.repo_url, config.edit_uri) == (ADDRESS, "edit/main/docs/")
    assert "content.action.edit" in config.theme["features"]
    made = chapter_pages()
    assert made
    for text in made:
        assert "[Open in Colab](https://colab.research.google.com/github/someone/hvae_tutorial/blob/main/" in text
        assert f"[Source]({ADDRESS}/blob/main/chapters/" in text


def test_every_chapter_is_published_with_what_can_be_downloaded(addressed) -> None:
    addressed("")
    made = hooks.published()
    for path in hooks.executed():
        assert made[f"chapters/{path.name}"] == path.read_bytes()
        assert {f"chapters/{path.stem}.md", f"chapters/{path.stem}.py"} <= made.keys()
    assert {"chapters/library.whl", "results.md", "formulas.md"} <= made.keys()
    assert not list((notebooks.ROOT / "docs").rglob("*.ipynb"))


def test_the_navigation_lists_the_chapters(config: MkDocsConfig) -> None:
    hooks.on_config(config)
    (chapters,) = [entry["Chapters"] for entry in config.nav if "Chapters" in entry]
    assert [uri for entry in chapters for uri in entry.values()] == [f"chapters/{p.stem}.md" for p in hooks.executed()]
    assert all(title.startswith(f"{number}. ") for number, entry in enumerate(chapters) for title in entry)


def test_titles_in_the_navigation_have_formulas_but_no_markdown(tmp_path) -> None:
    path = tmp_path / "03_bessel.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Without *losing* `k` and $\\kappa$\n\nText")]), path)
    assert hooks.numbered_title(path) == r"3. Without losing k and \(\kappa\)"


def at(uri: str) -> SimpleNamespace:
    """A stand-in for the page of a file."""
    return SimpleNamespace(file=SimpleNamespace(src_uri=uri))


@pytest.mark.parametrize(("uri", "root"), [("index.md", ""), ("chapters/02_von_mises_fisher.md", "../")])
def test_explorables_hold_a_picture_for_readers_without_scripts(uri: str, root: str) -> None:
    page = hooks.on_page_content('<div class="explorable" data-explorable="vmf"></div>', at(uri))
    assert f'data-explorable="vmf"><img src="{root}assets/explorables/vmf.png" alt="A thousand points ' in page


def test_code_and_displayed_formulas_are_not_searched() -> None:
    page = '<div class="language-python highlight">x</div><div class="output">y</div><div class="results">z</div>'
    assert hooks.on_page_content(page, at("chapters/03_bessel.md")) == (
        '<div data-search-exclude class="language-python highlight">x</div>'
        '<div data-search-exclude class="output">y</div><div class="results">z</div>'
    )


def test_the_wheel_is_the_one_that_notebooks_install() -> None:
    name, content = hooks.wheel()
    assert name == f"hvae_tutorial-{notebooks.project()['version']}-py3-none-any.whl"
    assert content.startswith(b"PK")


def test_scripts_are_loaded_where_they_are_needed() -> None:
    script = '<script src="../assets/katex/katex.min.js"></script>\n'
    explorable = '  <script src="../assets/explorables/vmf.js"></script>\n'
    prose = "Text names assets/katex/ and assets/explorables/.\n"
    assert hooks.on_post_page(prose + script + explorable) == prose
    formula = '<span class="arithmatex">x</span>\n'
    assert hooks.on_post_page(formula + script + explorable) == formula + script
    element = '<div data-explorable="vmf"></div>\n'
    assert hooks.on_post_page(element + script + explorable) == element + explorable


def test_the_page_of_results_has_every_table_of_the_records_and_where_they_come_from() -> None:
    text = hooks.results_page()
    for record in records.load():
        assert record.provenance["commit"][:10] in text
    for experiment in EXPERIMENTS.values():
        for group in groups(records.load(experiment=experiment.records), experiment.by):
            for table in experiment.tables(group, complete=True).values():
                assert table.html() in text
    assert text.index("Table 1 on mnist:") < text.index("Table 1 on mnist-5k:")
    assert "<em>S-VAE, paper</em>" in text
    assert "no run yet" in text
