"""What the site shows beside the files in docs/: the chapters, their downloads, and the page of results.

MkDocs calls the functions whose names begin with `on_`. Nothing is written into docs/: pages are made in memory from
chapters/ and from the committed records.
"""

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import nbformat
import notebooks
import pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from hvae_tutorial import records
from hvae_tutorial.experiments import paper, results
from hvae_tutorial.records import Record

# Scripts and styles that only some pages need, and the marks of such a page in its HTML: formulas, in the text or in
# titles that the navigation repeats, and explorables.
NEEDED_BY = {"assets/katex/": ('class="arithmatex"', r"\("), "assets/explorables/": ("data-explorable=",)}

# What a reader sees where scripts do not run: docs/assets/explorables/NAME.png, described.
EXPLORABLES = {
    "vmf": "A thousand points drawn from the von Mises-Fisher law on a sphere, at concentration 5: most lie around the "
    "mean direction. The length of their mean, 0.798, is close to the exact 0.800.",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the chapters in the navigation; name the repository if it has an address."""
    for entry in config.nav or []:
        if "Chapters" in entry:
            entry["Chapters"] = [{numbered_title(path): f"chapters/{path.stem}.md"} for path in executed()]
    repository = notebooks.project()["urls"]["Repository"]
    if repository:
        config.repo_url, config.repo_name, config.edit_uri = repository, "Repository", "edit/main/docs/"
        config.theme["features"].append("content.action.edit")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the chapters, what can be downloaded, and the results."""
    for uri, content in published().items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Put the table of chapters where a page asks for it."""
    return markdown.replace("<!-- chapters -->", chapters_table()) if page.file.src_uri == "index.md" else markdown


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Give explorables a picture for readers without scripts, and keep what is no prose out of the search index.

    Code, what it prints, and displayed formulas would be most of the index.
    """
    for name, alt in EXPLORABLES.items():
        picture = f"{'../' * page.file.src_uri.count('/')}assets/explorables/{name}.png"
        mark = f'<div class="explorable" data-explorable="{name}">'
        html = html.replace(f"{mark}</div>", f'{mark}<img src="{picture}" alt="{alt}" loading="lazy"></div>')
    return re.sub(r'<div class="(?=[^"]*\b(?:highlight|output|arithmatex)\b)', '<div data-search-exclude class="', html)


def on_post_page(output: str, **_: object) -> str:
    """Leave out the scripts and styles that the page does not need."""
    absent = [folder for folder, marks in NEEDED_BY.items() if not any(mark in output for mark in marks)]
    lines = output.splitlines(keepends=True)
    return "".join(line for line in lines if not any(folder in line and _loads(line) for folder in absent))


def on_post_build(config: MkDocsConfig) -> None:
    """Remove what no page loads: the theme's source maps, and its search in languages other than English."""
    site = Path(config.site_dir)
    for path in site.rglob("*.map"):
        path.unlink()
    shutil.rmtree(site / "assets" / "javascripts" / "lunr", ignore_errors=True)


def published() -> dict[str, str | bytes]:
    """What is made for the site, by its path within the site's sources."""
    name, content = wheel()
    made: dict[str, str | bytes] = {f"chapters/{name}": content, "results.md": results_page()}
    for path in executed():
        downloads = pages.Downloads(path.name, f"{path.stem}.py", name, notebooks.project()["urls"]["Repository"])
        page = pages.chapter_page(nbformat.read(path, as_version=4), path.stem, downloads)
        made[f"chapters/{path.stem}.md"] = page.markdown
        made |= {f"chapters/{picture}": png for picture, png in page.pictures.items()}
        made[f"chapters/{path.name}"] = path.read_bytes()
        made[f"chapters/{path.stem}.py"] = path.with_suffix(".py").read_bytes()
    return made


def executed() -> list[Path]:
    """The chapters' notebooks, in order."""
    return [path for path in (source.with_suffix(".ipynb") for source in notebooks.sources()) if path.exists()]


def numbered_title(path: Path) -> str:
    """The title of a chapter for the navigation, which takes no Markdown."""
    title = re.sub(r"\$(.+?)\$", r"\\(\1\\)", pages.title(nbformat.read(path, as_version=4)))
    return f"{int(path.stem[:2])}. {re.sub('[*`]', '', title)}"


def chapters_table() -> str:
    """Number, title, question and time of each chapter."""
    rows = ["| | chapter | question | minutes |", "|---|---|---|---|"]
    for path in executed():
        notebook = nbformat.read(path, as_version=4)
        link = f"[{pages.title(notebook)}](chapters/{path.stem}.md)"
        time = pages.minutes(notebook)
        rows.append(f"| {int(path.stem[:2])} | {link} | {pages.question(notebook)} | {time or ''} |")
    return "\n".join(rows)


@functools.cache
def wheel() -> tuple[str, bytes]:
    """Build the library; return the name of the wheel, and the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(notebooks.ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"the wheel cannot be built:\n{done.stdout}{done.stderr}")
        (path,) = Path(folder).glob("*.whl")
        return path.name, path.read_bytes()


def results_page() -> str:
    """The results in Markdown, from the records that come with the package."""
    parts = [RESULTS]
    tables = records.load(experiment="table1")
    for title, make, published in (
        ("Likelihood", results.table1, paper.TABLE1),
        ("Nearest neighbours on the latent means", results.table2, paper.TABLE2),
    ):
        parts.append(f"## {title}")
        for group in comparable(tables):
            table = make(group)
            parts.append(shown(with_empty_cells(table, group, published)))
    by_coordinates = [group for group in comparable(tables) if has_equal_coordinates(group)]
    for title, groups, make in (
        ("Nearest neighbours, by number of coordinates", by_coordinates, results.table2_coordinates),
        ("M1+M2 with 100 labels", comparable(records.load(experiment="table3")), results.table3),
        ("Link prediction", comparable(records.load(experiment="table4"), but="data"), results.table4),
        ("A circle bent into a hundred dimensions", comparable(records.load(experiment="figure1")), results.figure1),
    ):
        if groups:
            parts += [f"## {title}", *(shown(make(group)) for group in groups)]
    parts += ["## Provenance", provenance(records.load())]
    return "\n\n".join(parts)


RESULTS = """\
# Results

Every number of ours on this page comes from a record that is kept with the package: one JSON file a run, with all
settings, the versions, the machine and the commit. The page is made from the records when the site is built; nobody
types numbers. The paper's figures stand beside ours. A cell of the paper's tables in which we have no run says so.
How to repeat them is on [its own page](reproduce.md); what they mean is the subject of
[chapter 9](chapters/09_unsupervised.md) and of those after it, and of the
[report](chapters/14_reproduction_report.md)."""


def has_equal_coordinates(group: list[Record]) -> bool:
    """Whether there is a d with runs of N-VAE on R^d and of S-VAE on S^d and on S^(d-1)."""
    cells = {(record.settings["model"], record.settings["d"]) for record in group}
    return any(model == "n" and {("s", d), ("s", d - 1)} <= cells for model, d in cells)


def comparable(group: list[Record], *, but: str = "beta") -> list[list[Record]]:
    """Records in groups that may share a table: those that agree in all but model, d, seed and one more setting."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in group:
        shared = {k: v for k, v in record.settings.items() if k not in {"model", "d", "seed", but}}
        groups[repr(sorted(shared.items()))].append(record)
    # The paper's data first, then the group with most runs.
    return sorted(groups.values(), key=lambda group: (group[0].settings["data"] != paper.DATA, -len(group)))


def with_empty_cells(table: results.Table, group: list[Record], published: dict) -> results.Table:
    """Add the paper's cells in which there is no run, on the paper's data."""
    if group[0].settings["data"] != paper.DATA:
        return table
    ours = {(record.settings["d"], record.settings["model"]) for record in group}
    empty = len(table.headers) - 4
    rows = list(table.rows)
    for d, model in published.keys() - ours:
        name = results.MODELS[model]
        rows.append([str(d), name, "0", "no run yet", *[""] * empty])
        rows.append([str(d), f"{name}, paper", "", *paper_row(published[d, model], table.headers[3:])])
    names = list(results.MODELS.values())

    def order(row: list[str]) -> tuple[int, bool, int, bool]:
        test, name = row[1].startswith("p, "), row[1].removeprefix("p, ").removesuffix(", paper")
        return int(row[0]), test, names.index(name), row[1].endswith(", paper")

    return results.Table(table.title, table.headers, sorted(rows, key=order), table.notes)


def shown(table: results.Table) -> str:
    """A table in Markdown, the paper's rows in italics, with minus signs."""
    rows = []
    for row in table.rows:
        published = len(row) > 1 and row[1].endswith((", paper", ", Kipf and Welling"))
        cells = [re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", cell) for cell in row]
        rows.append([f"*{cell}*" if published and cell else cell for cell in cells])
    body = results.Table(table.title, table.headers, rows, table.notes).markdown()
    return f'<div class="results" markdown="1">\n\n{body}\n</div>'


def paper_row(cell: dict, headers: list[str]) -> list[str]:
    """The paper's figures of a cell, below the headers of Table 1 or Table 2."""
    names = {"LL (10)": None, "ELBO": "elbo", "RE": "reconstruction", "KL": "kl"}
    row = []
    for header in headers:
        key = int(header.split()[0]) if header.endswith(" labels") else names.get(header, "log_likelihood")
        value = cell.get(key, "")
        row.append("{:.2f} ± {:.2f}".format(*value) if isinstance(value, tuple) else f"{value}")
    return row


def provenance(all_records: list[Record]) -> str:
    """A table of the runs: where and with what they were made."""
    rows = ["| run | runs | commit | PyTorch | device | hours |", "|---|---|---|---|---|---|"]
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in all_records:
        made = record.provenance
        groups[
            f"{record.experiment}, {record.settings['data']}, {model_name(record)}, "
            f"d = {str(record.settings['d']).strip('[]')}",
            f"`{str(made.get('commit'))[:10]}`",
            made["versions"]["torch"],
            f"{made['device']}, {made['machine']['processor']}",
        ].append(record)
    for (name, commit, torch, device), runs in groups.items():
        hours = sum(record.training["seconds"] for record in runs) / 3600
        rows.append(f"| {name} | {len(runs)} | {commit} | {torch} | {device} | {hours:.1f} |")
    return "\n".join(rows)


def model_name(record: Record) -> str:
    """What the tables call the model of a record."""
    names = results.GRAPH_MODELS if record.experiment == "table4" else results.MODELS
    return names[record.settings["model"]]


def _loads(line: str) -> bool:
    return line.lstrip().startswith(("<script src=", '<link rel="stylesheet"'))
