"""The whole course as one PDF, `build/hvae_tutorial.pdf`: `make pdf`, or `python tools/book.py` after `make site`.

The chapters of the built site, with notation and glossary, become one page with a table of contents, which Chromium
prints twice: the first print tells on which sheets the chapters begin. The next build of the site offers the file.
"""

import html
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urldefrag

import home
import notebooks
from pypdf import PdfReader

SITE = notebooks.ROOT / "site"
PDF = notebooks.ROOT / "build" / "hvae_tutorial.pdf"
TITLE = "Hyperspherical Variational Auto-Encoders"
SUMMARY = "From the first formula to the last table: a course in executable chapters"
AFTER = ("notation", "glossary")  # pages that follow the chapters
LINE = "width:100%;font:7.5pt sans-serif;color:#555;text-align:"
HEADER = f'<div style="{LINE}right;margin-right:18mm">{TITLE}</div>'
FOOTER = f'<div style="{LINE}center"><span class="pageNumber"></span></div>'

STYLE = """\
<style>
.md-main__inner { margin: 0; }
article > section { break-before: page; }
.title { padding-top: 35vh; }
.contents ul { list-style: none; margin: 0; }
.contents h2 { font-size: 12pt; margin-top: 1em; }
.contents li { display: flex; gap: 1em; justify-content: space-between; margin: 0 0 0.3em; }
.contents .sheet { flex: 0 0 3em; font-variant-numeric: tabular-nums; text-align: right; }
article img { max-width: 100%; }
</style>"""


def book(site: Path, sheets: Mapping[str, int] | None = None) -> str:
    """Return one page with the chapters of a built site.

    Args:
        site: Its folder, in which the page must lie to find pictures and styles.
        sheets: On which sheet each section begins, by its identifier; without them, their places stay empty.
    """
    chapters = [source.stem for source in notebooks.sources()]
    paths = [f"chapters/{slug}.html" for slug in chapters] + [f"{name}.html" for name in AFTER]
    texts = {path: (site / path).read_text(encoding="utf-8") for path in paths}
    sections = [section(path, text, paths) for path, text in texts.items()]
    head = texts[paths[0]].partition("</head>")[0].replace('="../', '="')
    return "\n".join([
        head,
        STYLE,
        '</head><body data-md-color-scheme="default"><article class="md-content__inner md-typeset">',
        f'<div class="title"><h1>{TITLE}</h1><p class="lead">{SUMMARY}</p>'
        f"<p>Version {notebooks.project()['version']}</p></div>",
        contents(texts, sheets or {}),
        *sections,
        "</article>",
        "</body></html>",
    ])  # fmt: skip


def anchor(path: str) -> str:
    """Return the identifier of a page within the book."""
    return re.sub(r"\W+", "-", path.removesuffix(".html"))


def title(text: str) -> str:
    """Return the first heading of a page, in HTML."""
    found = re.search(r"<h1[^>]*>(.*?)(?:<a class=\"headerlink\".*?)?</h1>", text, flags=re.DOTALL)
    return found[1].strip() if found else ""


def contents(texts: Mapping[str, str], sheets: Mapping[str, int]) -> str:
    """Return the table of contents, by the parts of the course, with the numbers of the sheets that are known."""

    def line(path: str) -> str:
        number = re.match(r"chapters/(\d\d)", path)
        name = f"{int(number[1])}. " if number else ""
        sheet = f'<span class="sheet">{sheets.get(anchor(path), "")}</span>'
        return f'<li><a href="#{anchor(path)}">{name}{title(texts[path])}</a>{sheet}</li>'

    lines = ['<section class="contents"><h1>Contents</h1><ul>', line(next(iter(texts))), "</ul>"]
    for part in home.PARTS:
        members = [path for path in texts if path.startswith("chapters/") and int(path[9:11]) in part.chapters]
        lines += [f"<h2>{html.escape(part.title)}</h2><ul>", *map(line, members), "</ul>"]
    lines += ["<h2>Reference</h2><ul>", *(line(f"{name}.html") for name in AFTER), "</ul></section>"]
    return "\n".join(lines)


def section(path: str, text: str, paths: list[str]) -> str:
    """Return a page as a section of the book: identifiers and links made its own, answers open, pictures found."""
    name, folder = anchor(path), path.rpartition("/")[0]
    body = text.partition("<article")[2].partition(">")[2].partition("</article>")[0]
    body = re.sub(r"<div class=\"explorable\"[^>]*><noscript>(.*?)</noscript>", r'<div class="explorable">\1', body)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = body.replace('loading="lazy"', "").replace("<details", "<details open")

    def link(found: re.Match[str]) -> str:
        address, fragment = urldefrag(found[2])
        if re.match(r"\w+:", address):
            return found[0]
        target = resolved(folder, address) if address else path
        if target not in paths:
            return ""
        return f'{found[1]}="#{"-".join(filter(None, [anchor(target), fragment]))}"'

    body = re.sub(r'((?:xlink:)?href)="([^"]*)"', link, body)
    body = re.sub(r'src="([^"]*)"', lambda found: f'src="{resolved(folder, found[1])}"', body)
    return f'<section id="{name}">{body}</section>'


def resolved(folder: str, address: str) -> str:
    """Return a relative address as seen from the top of the site."""
    if re.match(r"\w+:", address):
        return address
    parts = folder.split("/") if folder else []
    for part in address.split("/"):
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/".join(parts)


def sheets_of(pdf: Path) -> dict[str, int]:
    """Return the sheets, counted from 1, on which the places that links of a PDF lead to are found, by their names."""
    reader = PdfReader(pdf)
    found = reader.named_destinations.items()
    return {name.lstrip("/"): (reader.get_destination_page_number(place) or 0) + 1 for name, place in found}


def main() -> int:
    """Print the book; the exit status is 1 where there is no site or no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not (SITE / "index.html").exists() or chromium is None:
        print("a PDF needs the site (make site) and chromium", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    page_file = SITE / "book.html"
    PDF.parent.mkdir(exist_ok=True)
    sheets: dict[str, int] = {}
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(900_000)
            for _ in range(2):
                page_file.write_text(book(SITE, sheets), encoding="utf-8")
                page.goto(page_file.as_uri())
                page.evaluate("document.fonts.ready.then(() => true)")
                page.pdf(
                    path=PDF, format="A4", margin={"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"},
                    print_background=True, outline=True, tagged=True,
                    display_header_footer=True, header_template=HEADER, footer_template=FOOTER,
                )  # fmt: skip
                before, sheets = sheets, sheets_of(PDF)
            browser.close()
    finally:
        page_file.unlink()
    if sheets != before:
        raise RuntimeError("the numbers in the table of contents have moved what they count")
    print(f"{PDF}: {len(PdfReader(PDF).pages)} sheets, {PDF.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
