"""What the site shows beside the files in docs/ is made from the chapters, the records and pyproject.toml alone."""

import io
import json
import re
import zipfile
from types import SimpleNamespace

import home
import hooks
import nbformat
import notebooks
import pages
import pytest
import times
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from nbformat.v4 import new_markdown_cell, new_notebook

from hvae_tutorial import records
from hvae_tutorial.exercises import all_exercises
from hvae_tutorial.experiments.experiment import groups
from hvae_tutorial.experiments.registry import EXPERIMENTS

ADDRESS = "https://github.com/someone/hvae_tutorial"
SITE = "https://example.org/course"


@pytest.fixture
def config() -> MkDocsConfig:
    return load_config(str(notebooks.ROOT / "mkdocs.yml"))


@pytest.fixture
def addressed(monkeypatch: pytest.MonkeyPatch):
    """Pretend that pyproject.toml names a repository and a site, or none."""

    def pretend(address: str, site: str = "") -> None:
        project = {**notebooks.project(), "urls": {"Repository": address, "Documentation": site}}
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
    assert not config.site_url
    assert "content.action.edit" not in config.theme["features"]
    for text in chapter_pages():
        assert "Open in Colab" not in text
        assert "blob/main" not in text
        assert "[Library](library.whl)" in text


def test_with_an_address_everything_leads_there(config: MkDocsConfig, addressed) -> None:
    addressed(ADDRESS, SITE)
    hooks.on_config(config)
    assert (config.repo_url, config.edit_uri, config.site_url) == (ADDRESS, "edit/main/docs/", f"{SITE}/")
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


def test_the_navigation_lists_the_chapters_by_parts(config: MkDocsConfig) -> None:
    hooks.on_config(config)
    assert config.nav[0] == {"Home": "index.md"}
    entries = {title: content for entry in config.nav for title, content in entry.items()}
    listed = [config.nav[1], *(link for part in home.PARTS for link in entries[part.title])]
    assert [uri for link in listed for uri in link.values()] == [f"chapters/{p.stem}.md" for p in hooks.executed()]
    assert all(title.startswith(f"{number}. ") for number, link in enumerate(listed) for title in link)


def test_the_home_page_has_each_part_with_its_chapters_times_and_exercises() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"), meta={})
    markdown = hooks.on_page_markdown((notebooks.ROOT / "docs/index.md").read_text(encoding="utf-8"), page)
    html = hooks.on_page_content(markdown, page)
    assert html.count("<svg") == len(home.PARTS) == html.count('<section class="part"')
    for path in hooks.executed()[1:]:
        notebook = nbformat.read(path, as_version=4)
        assert f"]({'chapters'}/{path.stem}.md)" in html
        assert pages.question(notebook) in html
        assert f"{times.of_notebook(notebook).reading} min</span>" in html
    exercises = all_exercises()
    assert f"{len(hooks.executed())} chapters, " in html
    assert f" · {len(exercises)} exercises, " in html
    assert sum(len(home.of(part, hooks.executed())) for part in home.PARTS) == len(hooks.executed()) - 1


def test_pages_have_descriptions_and_ranks() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="chapters/03_bessel.md"), meta={})
    text = "# T\n\n<div>\nx\n</div>\n\n*How do you compute $\\log I_\\nu(\\kappa)$ where `ive` fails?*\n\nMore."
    hooks.on_page_markdown(text, page)
    assert page.meta["description"] == "How do you compute log I_ν(κ) where ive fails?"
    ranks = {}
    for uri in ("chapters/03_bessel.md", "notation.md", "api/special.md"):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=uri), meta={})
        hooks.on_page_markdown("", page)
        ranks[uri] = page.meta.get("search", {"boost": 1})["boost"]
    assert ranks["chapters/03_bessel.md"] > ranks["notation.md"] > ranks["api/special.md"]


def test_searched_formulas_are_letters_and_their_names() -> None:
    index = {"docs": [{"title": "A \\(\\mu\\)", "text": "<p>at \\(\\kappa \\ge 0\\)</p>"}, {"title": "B", "text": "b"}]}
    assert hooks.searchable(index)["docs"] == [
        {"title": "A μ", "text": "<p>at κ ≥ 0</p> kappa"},
        {"title": "B", "text": "b"},
    ]


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
    picture = f'<img src="{root}assets/explorables/vmf.png" alt="A thousand points '
    assert f'data-explorable="vmf"><noscript>{picture}' in page
    pressed = hooks.on_page_content('<div class="explorable" data-explorable="vmf" data-press="Go"></div>', at(uri))
    assert f'data-press="Go"><img class="poster" src="{root}assets/explorables/vmf-poster.png" alt="A th' in pressed


def test_code_and_displayed_formulas_are_not_searched() -> None:
    page = '<div class="language-python highlight">x</div><div class="output">y</div><div class="results">z</div>'
    page += '<details class="colab">c</details><div class="chapter">d</div>'
    assert hooks.on_page_content(page, at("chapters/03_bessel.md")) == (
        '<div data-search-exclude class="language-python highlight">x</div>'
        '<div data-search-exclude class="output">y</div><div class="results">z</div>'
        '<details data-search-exclude class="colab">c</details><div data-search-exclude class="chapter">d</div>'
    )


def test_the_wheel_is_the_one_that_notebooks_install() -> None:
    name, content = hooks.wheel()
    assert name == f"hvae_tutorial-{notebooks.project()['version']}-py3-none-any.whl"
    assert content.startswith(b"PK")


def posted(output: str, uri: str = "chapters/02_von_mises_fisher.md") -> str:
    """What becomes of a page."""
    return hooks.on_post_page(output, page=SimpleNamespace(file=SimpleNamespace(src_uri=uri)))


def test_scripts_are_loaded_where_they_are_needed() -> None:
    script = '<script src="../assets/cards/cards.js"></script>\n'
    explorable = '<script src="../assets/explorables/explorable.js"></script>\n'
    prose = "Text names assets/cards/ and assets/explorables/.\n"
    assert posted(prose + script + explorable) == prose
    citation = '<a href="#ref-x">x</a>\n'
    assert posted(citation + script + explorable) == citation + script
    element = '<div data-explorable="vmf"></div>\n'
    assert posted(element + script + explorable) == element + explorable
    letter = posted(r'<body><span class="arithmatex">\(\kappa\)</span>' + f"\n{script}</body>")
    (known,) = re.findall(r'<script type="application/json" id="hvae-letters">(.*)</script>', letter)
    assert json.loads(known).keys() == {r"\kappa"}
    assert script in letter
    assert "hvae-letters" not in posted(r'<body><span class="arithmatex">\(+\)</span></body>')


def test_names_numbers_and_punctuation_in_code_are_not_marked() -> None:
    code = '<span class="kn">import</span><span class="w"> </span><span class="n">a</span><span class="o">.</span>'
    assert posted(code) == '<span class="kn">import</span> a.'
    text = '<span class="s2">"</span><span class="s2">&lt;b</span><span class="s2">"</span><span class="mi">1</span>'
    assert posted(text) == '<span class="s2">"&lt;b"</span>1'


def test_the_page_of_results_has_every_table_of_the_records_and_where_they_come_from() -> None:
    text = hooks.results_page()
    for record in records.load():
        assert record.provenance["commit"][:10] in text
    for experiment in EXPERIMENTS.values():
        for group in groups(records.load(experiment=experiment.records), experiment.by):
            whole, own = (experiment.tables(group, complete=complete) for complete in (True, False))
            for name in whole:
                bodies = [table[name].html().split("</p>", 1)[1] for table in (whole, own)]  # behind the title
                assert any(body in text for body in bodies), (experiment.records, name)
    assert text.index("Table 1 on mnist:") < text.index("Table 1 on mnist-5k:")
    assert "<em>S-VAE, paper</em>" in text
    assert "<td>S-VAE, ours − paper" in text


def test_each_table_of_results_can_be_downloaded_with_its_records() -> None:
    made, page = hooks.results_files(), hooks.results_page()
    tables = {name: table for tables in hooks.results().values() for name, table in tables.items()}
    assert made.keys() == {f"results/{name}.{kind}" for name in tables for kind in ("csv", "zip")}
    for name, table in tables.items():
        assert f'<a href="results/{name}.csv" download>' in page
        assert len(made[f"results/{name}.csv"].splitlines()) == len(table.rows) + 1
        with zipfile.ZipFile(io.BytesIO(made[f"results/{name}.zip"])) as file:
            wanted = {f"{record}.json" for row in table.rows for record in row.records}
            assert set(file.namelist()) == wanted
            assert wanted
            for record in file.namelist():
                assert json.loads(file.read(record))["results"]


def test_tables_of_results_have_titles_that_tell_them_apart() -> None:
    tables = {name: table for tables in hooks.results().values() for name, table in tables.items()}
    titles = [table.title for table in tables.values()]
    assert len(titles) == len(set(titles)) > 15
    assert tables["table1-mnist"].title.endswith("; warmup_epochs = 100")
    assert tables["table1-mnist-2"].title.endswith("; warmup_epochs = 0")
    assert tables["products-digits"].title.endswith("; epochs = 1500; patience = 1500")
    assert tables["barrier-ends-digits"].title.endswith("at most 2000 test images")  # the only one of its kind
    settings = {"d": 2, "a": 1, "b": 2, "c": 3}
    assert hooks.particulars(settings, [settings, {"d": 3, "a": 1, "b": 3}], {"d"}) == ["b = 2", "c = 3"]


@pytest.mark.parametrize(
    ("cell", "marked"),
    [
        ("<td>\N{MINUS SIGN}1.23 ± 0.25</td>", True),
        ('<td style="text-align: right;"><em>90.0 ± 0.1</em></td>', True),
        ("<td>&lt; 0.0001</td>", True),
        ("<td>12.0</td>", False),
        ("<td>words ± words</td>", False),
    ],
)
def test_a_mean_and_its_deviation_stay_on_one_line(cell: str, marked: bool) -> None:
    assert (hooks.TOGETHER.sub('<td class="nobr"', cell) != cell) == marked


def test_runs_with_other_settings_stand_beside_their_own_cells_of_the_paper() -> None:
    """The usual protocol has all of the paper's cells, the run without warm-up its own."""
    tables = hooks.results()["Likelihood"]
    labels = {
        name: {row.label for row in table.rows} for name, table in tables.items() if "table1-mnist-5k" not in name
    }
    assert labels["table1-mnist"] == {"2", "5", "10", "20", "40"}
    assert labels["table1-mnist-2"] == {"20", "40"}
