"""What the site shows beside the files in docs/: chapters, downloads, and pages of exercises, results and formulas.

It also has the home page's parts, descriptions for search engines, and an order for the course's own search.

MkDocs calls the functions whose names begin with `on_`. Nothing is written into docs/: pages are made in memory from
chapters/, from the committed records and from `formulas.py`.
"""

import dataclasses
import functools
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import book
import cards
import exercise_pages
import formulas
import home
import nbformat
import notebooks
import pages
import slim
import typeset
import words
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from hvae_tutorial import records
from hvae_tutorial.experiments.experiment import groups
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.results import Table
from hvae_tutorial.records import Record

# Scripts and styles that only some pages need, and the marks of such a page in its HTML: formulas, in the text or in
# titles that the navigation repeats, formulas that may be letters with a card, and explorables.
NEEDED_BY = {
    "assets/math/": ("<math",),
    "assets/_mkdocstrings.css": ('class="doc ',),
    "assets/cards/": ("data-tex=", 'href="#ref-'),
    "assets/explorables/": ("data-explorable=",),
}

# How pages rank in the search, by the beginnings of their paths; others have rank 1.
RANKS = {"chapters/": 4, "glossary": 3, "api/": 0.5, "formulas": 0.5}

# What the theme's script can show and this site does not use, by the beginnings of its classes.
FEATURES = (
    "annotation",
    "footnote",
    "md-annotation",
    "md-source",
    "md-status",
    "md-tag",
    "md-tooltip",
    "md-version",
    "tabbed-",
)

PDF_LINK = f"- [The course as one PDF]({book.PDF.name})."

WORKER = re.compile(r"assets/javascripts/workers/search\.\w+\.min\.js")  # the theme's

# Names, numbers, operators, punctuation and spaces in code: they have the colour of the text, and would be half of the
# page.
PLAIN = re.compile(r'<span class="(?:n|o|p|w|mi|mf)">([^<]*)</span>')
ALIKE = re.compile(r'<span class="(\w+)">[^<]*</span>(?:<span class="\1">[^<]*</span>)+')  # one mark is enough

# What is not searched: code, what it prints and displayed formulas, which would be most of the index; what all chapters
# have in common.
UNSEARCHED = re.compile(r'<(div|details) class="(?=[^"]*\b(?:highlight|output|arithmatex|chapter|colab)\b)')

# What a reader sees where scripts do not run: docs/assets/explorables/NAME.png, described. The script is NAME.js, which
# explorable.js loads when the reader comes near. One that waits for a button shows NAME-poster.png before, described by
# the first sentence.
EXPLORABLES = {
    "vmf": "A thousand points drawn from the von Mises-Fisher law on a sphere, at concentration 5: most lie around the "
    "mean direction. The length of their mean, 0.798, is close to the exact 0.800.",
    "darts": "Darts under two curves, before and after the zoom, for m = 5 and concentration 5: of 300 proposals 244 "
    "lie below the density of the law and are kept. A histogram of the kept w follows the law's density.",
    "lost-term": "Samples on a circle with arrows towards the mean direction, at concentration 2. The mean slope by "
    "the implicit estimator is 0.168, by the corrected one 0.166, by the incomplete one 0.085; the truth is 0.164.",
    "globe": "A globe with 2000 test images of MNIST as dots, coloured by class: the latent space of an S-VAE. Beside "
    "it the digit that the decoder draws at the needle in the middle.",
}


# A mean with its deviation, and a limit: on one line, except on paper.
TOGETHER = re.compile(r"<td(?=(?: style[^>]*)?>(?:<em>)?(?:[\N{MINUS SIGN}\d.]+ ± [\d.]+|&lt; [\d.]+)(?:</em>)?</td>)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the chapters in the navigation, by parts; name repository and site if they have an address."""
    entries = config.nav or []
    at = entries.index({"Chapters": []})
    config.nav = [*entries[:at], *chapters_nav(), *entries[at + 1 :]]
    repository, site = notebooks.addresses()
    if site:
        config.site_url = f"{site}/"
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
    """Describe the page, say how it ranks in the search, and put the parts of the course where the home page wants."""
    uri = page.file.src_uri
    if uri == "index.md":
        markdown = markdown.replace("<!-- parts -->", home.parts(executed()))
        markdown = markdown.replace("<!-- facts -->", home.facts(executed()))
        markdown = markdown.replace("<!-- pdf -->", PDF_LINK if book.PDF.exists() else "")
    else:
        page.meta.setdefault("description", words.description(markdown))
    for beginning, rank in RANKS.items():
        if uri.startswith(beginning):
            page.meta["search"] = {"boost": rank}
    return markdown


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Give explorables a picture for readers without scripts, and keep what is no prose out of the search index."""
    for name, alt in EXPLORABLES.items():
        folder = f"{'../' * page.file.src_uri.count('/')}assets/explorables"
        mark = f'<div class="explorable" data-explorable="{name}"'
        picture = f'<noscript><img src="{folder}/{name}.png" alt="{alt}" loading="lazy"></noscript>'
        html = html.replace(f"{mark}></div>", f"{mark}>{picture}</div>")
        poster = f'<img class="poster" src="{folder}/{name}-poster.png" alt="{alt.partition(". ")[0]}." loading="lazy">'
        html = re.sub(f'({re.escape(mark)} data-press="[^"]*">)(</div>)', rf"\1{poster}\2", html)
    if page.file.src_uri == "index.md":
        html = home.pictures(html, notebooks.ROOT / "docs/assets/parts")
    if page.file.src_uri.startswith("api/"):
        html = typeset.spaces(html)
    return UNSEARCHED.sub(r'<\1 data-search-exclude class="', html)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Typeset the formulas, and leave out what the page does not need: scripts, styles and the marks of plain code."""
    known = {} if page.file.src_uri == "notation.md" else cards.known(letters(), page.file.src_uri)
    output = PLAIN.sub(r"\1", typeset.page(output, known))
    used = {tex: card for tex, card in known.items() if f'data-tex="{escape(tex)}"' in output}
    if used:
        island = f'<script type="application/json" id="hvae-letters">{json.dumps(used, ensure_ascii=False)}</script>'
        output = output.replace("</body>", f"{island}\n</body>")
    output = ALIKE.sub(lambda found: f'<span class="{found[1]}">{re.sub("<[^>]*>", "", found[0])}</span>', output)
    output = TOGETHER.sub('<td class="nobr"', output)
    output = WORKER.sub("assets/search/search.js", output)
    absent = [folder for folder, marks in NEEDED_BY.items() if not any(mark in output for mark in marks)]
    lines = slim.without_indentation(output).replace(" data-search-exclude", "").splitlines(keepends=True)
    return "".join(line for line in lines if not any(folder in line and _loads(line) for folder in absent))


def on_post_build(config: MkDocsConfig) -> None:
    """Remove what no page needs, write formulas in the search index as words, and keep it until a reader searches.

    What is removed: the theme's source maps and unused styles, its search in languages other than English, and, where
    the site has no address, the sitemap, which would be empty. The documents of the index and the theme's worker lie
    beside the worker that loads them, docs/assets/search/search.js.
    """
    site = Path(config.site_dir)
    index = site / "search" / "search_index.json"
    found = searchable(json.loads(index.read_text(encoding="utf-8")))
    lazy = site / "assets" / "search"
    (lazy / "documents.js").write_text(
        f"var hvaeDocuments = {json.dumps(found.pop('docs'), ensure_ascii=False)};\n", encoding="utf-8"
    )
    text = json.dumps({**found, "docs": []})
    index.write_text(text, encoding="utf-8")
    index.with_suffix(".js").write_text(f"var __index = {text}", encoding="utf-8")  # for file://
    (worker,) = (site / "assets" / "javascripts" / "workers").glob("search.*.js")
    worker.rename(lazy / "worker.js")
    if not config.site_url:
        for path in site.glob("sitemap.xml*"):
            path.unlink()
    for path in site.rglob("*.map"):
        path.unlink()
    texts = [path.read_text(encoding="utf-8") for path in site.rglob("*.html")]
    scripts = [*site.glob("assets/javascripts/*.js"), site / "assets/reach.js", site / "assets/cards/cards.js"]
    used = slim.used_classes(texts, [path.read_text(encoding="utf-8") for path in scripts], FEATURES)
    schemes = slim.used_schemes(texts)
    theme = {path for name in ("main", "palette") for path in site.glob(f"assets/stylesheets/{name}.*.css")}
    others = []
    for path in site.rglob("*.css"):
        if path not in theme:
            others.append(slim.without_comments(path.read_text(encoding="utf-8")))
            path.write_text(others[-1], encoding="utf-8")
    made = {path: slim.stylesheet(path.read_text(encoding="utf-8"), used, schemes) for path in theme}
    asked = "".join([*others, *made.values(), *texts])
    for path, css in made.items():
        path.write_text(slim.without_variables(css, asked), encoding="utf-8")
    shutil.rmtree(site / "assets" / "javascripts" / "lunr", ignore_errors=True)


def published() -> dict[str, str | bytes]:
    """What is made for the site, by its path within the site's sources."""
    name, content = wheel()
    repository, _ = notebooks.addresses()
    made: dict[str, str | bytes] = {f"chapters/{name}": content}
    made |= results_files()
    made |= {"results.md": results_page(), "formulas.md": formulas_page(repository)}
    made["assets/cards/letters.js"] = cards.script(letters())
    made["exercises.md"] = exercise_pages.index([path.stem for path in executed()])
    if book.PDF.exists():
        made[book.PDF.name] = book.PDF.read_bytes()
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


def chapters_nav() -> list[dict[str, Any]]:
    """The chapters in the navigation: the first by itself, the others by parts."""
    links = {path: {numbered_title(path): f"chapters/{path.stem}.md"} for path in executed()}
    parts = [{part.title: [links[path] for path in home.of(part, executed())]} for part in home.PARTS]
    alone = [link for path, link in links.items() if not any(home.number(path) in part.chapters for part in home.PARTS)]
    return [*alone, *(part for part in parts if any(part.values()))]


def searchable(index: dict[str, Any]) -> dict[str, Any]:
    """The search index with inline formulas as text: κ, and at a section's end its name, so that both are found."""
    for section in index["docs"]:
        text = re.sub(r"\\\((.+?)\\\)", lambda formula: words.plain_formula(formula[1]), section["text"])
        section["text"] = " ".join([text, *words.greek(text)])
        section["title"] = re.sub(r"\\\((.+?)\\\)", lambda f: words.plain_formula(f[1]), section["title"])
    return index


@functools.cache
def letters() -> dict[str, list[dict[str, str]]]:
    """What the letters mean, by their TeX."""
    return cards.letters((notebooks.ROOT / "docs/notation.md").read_text(encoding="utf-8"))


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


@functools.cache
def results() -> dict[str, dict[str, Table]]:
    """The tables that the records give, by heading and name of their files; those with the paper's figures first.

    Tables with the same title get the settings that tell them apart behind it.
    """
    found: dict[str, dict[str, Table]] = {}
    for experiment in EXPERIMENTS.values():
        loaded = records.load(experiment=experiment.records)
        grouped, seen = [], set()
        settings: dict[str, list[Mapping[str, Any]]] = defaultdict(list)  # of the groups, by title
        for group in groups(loaded, experiment.by):
            # The largest group of some data stands beside all of the paper's cells, the others beside their own.
            sources = frozenset(record.settings["data"] for record in group)
            grouped.append((group, experiment.tables(group, complete=sources not in seen)))
            seen.add(sources)
            for table in grouped[-1][1].values():
                settings[table.title].append(group[0].settings)
        grouped.sort(key=lambda pair: not any(row.is_published for t in pair[1].values() for row in t.rows))
        for group, tables in grouped:
            data = "-".join(sorted({record.settings["data"] for record in group}))
            for name, table in tables.items():
                named = found.setdefault(experiment.heading, {})
                same = sum(other.startswith(f"{name}-{data}") for other in named)
                special = particulars(group[0].settings, settings[table.title], {*experiment.by, "seed"})
                title = "; ".join([table.title, *special])
                named[f"{name}-{data}" + (f"-{same + 1}" if same else "")] = dataclasses.replace(table, title=title)
    return found


def particulars(settings: Mapping[str, Any], others: Sequence[Mapping[str, Any]], but: Collection[str]) -> list[str]:
    """The settings of a group in which it differs from another one, as `name = value`."""
    return [
        f"{name} = {value}"
        for name, value in sorted(settings.items())
        if name not in but and any(other.get(name) != value for other in others)
    ]


def results_page() -> str:
    """The results, from the records that come with the package: every table that they give."""
    parts = [RESULTS]
    for heading, tables in results().items():
        parts.append(f"## {heading}")
        for name, table in tables.items():
            files = f'<a href="results/{name}.csv" download>CSV</a> <a href="results/{name}.zip" download>records</a>'
            parts.append(f'<div class="results">\n{table.html()}<p class="files">{files}</p>\n</div>')
    parts += ["## Provenance", provenance(records.load())]
    return "\n\n".join(parts)


def results_files() -> dict[str, str | bytes]:
    """What can be downloaded of the results: each table as CSV, and the records that it is made of."""
    made: dict[str, str | bytes] = {}
    for tables in results().values():
        for name, table in tables.items():
            made[f"results/{name}.csv"] = table.csv()
            made[f"results/{name}.zip"] = archive({record for row in table.rows for record in row.records})
    return made


def archive(names: Iterable[str]) -> bytes:
    """A zip file with records; the same records give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(names):
            path = notebooks.ROOT / "hvae_tutorial" / "records_data" / f"{name}.json"
            file.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


RESULTS = """\
# Results

Every number of ours on this page comes from a record that is kept with the package: one JSON file a run, with all
settings, the versions, the machine and the commit. The page is made from the records when the site is built; nobody
types numbers. The paper's figures stand beside ours, in italics, with the difference; where they stand alone, we have
no run yet. Below each table are its numbers, not rounded, and the records that it is made of. How to repeat them is on
[its own page](reproduce.md); what they mean is the subject of [chapter 9](chapters/09_unsupervised.md) and of those
after it, and of the [report](chapters/14_reproduction_report.md)."""


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
