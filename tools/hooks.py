"""What the site shows beside the files in docs/: chapters, downloads, and pages of exercises, results and formulas.

MkDocs calls the functions whose names begin with `on_`. Nothing is written into docs/: pages are made in memory from
chapters/, from the committed records and from `formulas.py`.
"""

import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import exercise_pages
import formulas
import nbformat
import notebooks
import pages
import times
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from hvae_tutorial import records
from hvae_tutorial.experiments.experiment import groups
from hvae_tutorial.experiments.registry import EXPERIMENTS
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
    repository = notebooks.project()["urls"]["Repository"]
    made: dict[str, str | bytes] = {f"chapters/{name}": content}
    made |= {"results.md": results_page(), "formulas.md": formulas_page(repository)}
    made["exercises.md"] = exercise_pages.index([path.stem for path in executed()])
    for path in executed():
        student = notebooks.student_path(path)
        open_exercises = f"student/{student.name}" if student.exists() else ""
        downloads = pages.Downloads(path.name, f"{path.stem}.py", name, repository, open_exercises)
        made[f"chapters/{path.stem}.md"] = pages.chapter_page(nbformat.read(path, as_version=4), path.stem, downloads)
        made[f"chapters/{path.name}"] = path.read_bytes()
        made[f"chapters/{path.stem}.py"] = path.with_suffix(".py").read_bytes()
        if open_exercises:
            made[f"chapters/{open_exercises}"] = student.read_bytes()
    return made


def executed() -> list[Path]:
    """The chapters' notebooks, in order."""
    return [path for path in (source.with_suffix(".ipynb") for source in notebooks.sources()) if path.exists()]


def numbered_title(path: Path) -> str:
    """The title of a chapter for the navigation, which takes no Markdown."""
    title = re.sub(r"\$(.+?)\$", r"\\(\1\\)", pages.title(nbformat.read(path, as_version=4)))
    return f"{int(path.stem[:2])}. {re.sub('[*`]', '', title)}"


def chapters_table() -> str:
    """Number, title, question and times of each chapter."""
    rows = ["| | chapter | question | reading | exercises | running |", "|---|---|---|---|---|---|"]
    for path in executed():
        notebook = nbformat.read(path, as_version=4)
        link = f"[{pages.title(notebook)}](chapters/{path.stem}.md)"
        time = times.of_notebook(notebook)
        minutes = [f"{count} min" if count else "" for count in (time.reading, time.exercises)]
        running = time.running if time.seconds else ""
        rows.append(
            f"| {int(path.stem[:2])} | {link} | {pages.question(notebook)} | {' | '.join(minutes)} | {running} |"
        )
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
    """The results, from the records that come with the package: every table that they give."""
    parts = [RESULTS]
    for experiment in EXPERIMENTS.values():
        found = records.load(experiment=experiment.records)
        grouped = [experiment.tables(group, complete=True) for group in groups(found, experiment.by)]
        grouped.sort(key=lambda tables: not any(row.source == "paper" for t in tables.values() for row in t.rows))
        if grouped:
            parts.append(f"## {experiment.heading}")
        parts += [f'<div class="results">\n{table.html()}</div>' for tables in grouped for table in tables.values()]
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


def provenance(all_records: list[Record]) -> str:
    """A table of the runs: where and with what they were made."""
    rows = ["| run | runs | commit | PyTorch | device | hours |", "|---|---|---|---|---|---|"]
    alike: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in all_records:
        made, settings = record.provenance, record.settings
        model = EXPERIMENTS[record.experiment].model(settings["model"])
        alike[
            f"{record.experiment}, {settings['data']}, {model}, d = {str(settings['d']).strip('[]')}",
            f"`{str(made.get('commit'))[:10]}`",
            made["versions"]["torch"],
            f"{made['device']}, {made['machine']['processor']}",
        ].append(record)
    for (name, commit, torch, device), runs in alike.items():
        hours = sum(record.training["seconds"] for record in runs) / 3600
        rows.append(f"| {name} | {len(runs)} | {commit} | {torch} | {device} | {hours:.1f} |")
    return "\n".join(rows)


def formulas_page(repository: str) -> str:
    """Which test would fail if a formula were wrong: `formulas.FORMULAS`, a table for each subject."""
    titles = {path.stem: numbered_title(path) for path in executed()}
    parts = [FORMULAS_PAGE]
    for subject, group in formulas.FORMULAS.items():
        rows = ["| formula and source | computed by, shown in, held by |", "|---|---|"]
        for formula in group:
            name = formula.function.removeprefix("hvae_tutorial.")
            private = any(part.startswith("_") for part in name.split("."))
            function = f"`{name}`" if private else f"[`{name}`][{formula.function}]"
            chapter = f"[{titles[formula.chapter]}](chapters/{formula.chapter}.md)"
            file, _, test = formula.test.partition("[")[0].partition("::")
            where = f"[`{file}`]({repository}/blob/main/tests/{file})" if repository else f"`{file}`"
            rows.append(f"| ${formula.tex}$<br>{formula.source} | {function}<br>{chapter}<br>`{test}`<br>in {where} |")
        parts += [f"## {subject}", "\n".join(rows)]
    return "\n\n".join(parts)


FORMULAS_PAGE = """\
---
hide: [toc]
---

# Which test would fail if this formula were wrong?

For each formula: where it is from, what computes it, the chapter that shows it, and a test that fails where the result
is off by a thousandth (samples: a twentieth). That it does is tested, too. What a test expects comes from somewhere
else than the library: from 30-digit arithmetic, quadrature, enumeration or another library."""


def _loads(line: str) -> bool:
    return line.lstrip().startswith(("<script src=", '<link rel="stylesheet"'))
