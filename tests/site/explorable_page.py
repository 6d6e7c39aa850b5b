"""An explorable alone on a page, and what tests do with it."""

import html
from pathlib import Path

ASSETS = Path(__file__).parents[2] / "docs" / "assets" / "explorables"
CANVAS = ".explorable .picture"


def write_page(folder: Path, name: str) -> str:
    """Write a page with an explorable, and far below one that nobody has written; return its address."""
    files = {file: html.escape((ASSETS / file).as_uri()) for file in ("explorable.css", "explorable.js", f"{name}.js")}
    path = folder / "page.html"
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>
        <meta name="viewport" content="width=device-width"><link rel="stylesheet" href="{files["explorable.css"]}">
        <body data-md-color-scheme="default">
        <div class="explorable" data-explorable="{name}"><p id="before">A picture.</p></div>
        <div style="height: 20000px"></div>
        <div class="explorable" data-explorable="later"><p id="after">A picture.</p></div>
        <script src="{files["explorable.js"]}"></script><script src="{files[f"{name}.js"]}"></script></body></html>""",
        encoding="utf-8",
    )
    return path.as_uri()


def settle(page) -> None:
    """Wait until what was asked for has been painted."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def slide(page, position: int, name: str = "Concentration") -> None:
    """Move the slider with this name."""
    page.get_by_role("slider", name=name).fill(str(position))
    settle(page)


def picture(page, canvas: str = CANVAS) -> str:
    """What is painted, as a data URL."""
    settle(page)
    return page.locator(canvas).evaluate("canvas => canvas.toDataURL()")


def number(page, name: str) -> str:
    """What the page shows in the row with this name."""
    return page.locator(f".{name} dd").inner_text()
