"""The site as a reader meets it: links, formulas, figures, search and keys; from a file, from a server, on a phone."""

import gzip
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import notebooks
import pytest

pytestmark = pytest.mark.slow

# Bytes of a page with all that it loads but images: as a server that compresses sends it, and unpacked, without its
# figures. Chapter 2 and chapter 4 are the heaviest. The globe's decoder comes on top, where it is loaded.
SENT = 330_000
UNPACKED = 500_000
GLOBE = 310_000
FIGURE = re.compile(rb'<svg [^>]*role="img".*?</svg>', re.DOTALL)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


class Document(HTMLParser):
    """The links, addresses, identifiers and images of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self.drawings: list[dict[str, str | None]] = []
        self.repeated: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if (identifier := values.get("id")) in self.ids:
            self.repeated.add(str(identifier))
        self.ids |= {value for name in ("id", "name") if (value := values.get(name))}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if tag in {"script", "img", "iframe", "source"} and values.get("src"):
            self.loaded.append(values["src"] or "")
        if tag == "link" and values.get("rel") in {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch"}:
            self.loaded.append(values["href"] or "")
        if tag == "img":
            self.images.append(values)
        if tag == "svg" and values.get("role") == "img":
            self.drawings.append(values)


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[str, Document]:
    """All pages by their path within the site."""
    return {path.relative_to(site).as_posix(): Document(path) for path in sorted(site.rglob("*.html"))}


def is_outside(address: str) -> bool:
    return bool(urlsplit(address).scheme or address.startswith("//"))


def test_every_chapter_and_every_part_of_the_house_has_a_page(documents: dict[str, Document]) -> None:
    chapters = {f"chapters/{source.stem}.html" for source in notebooks.sources()}
    assert chapters
    floors = "special distributions models training data experiments plotting"
    api = {f"api/{name}.html" for name in floors.split()}
    assert chapters | api | {
        "index.html",
        "notation.html",
        "results.html",
        "reproduce.html",
        "formulas.html",
        "cite.html",
    } <= set(documents)


def test_links_and_anchors_hold(site: Path, documents: dict[str, Document]) -> None:
    broken = []
    for name, document in documents.items():
        if name == "404.html":  # its links begin at the root of a server
            continue
        for link in document.links:
            if is_outside(link):
                continue
            path, anchor = urldefrag(link)
            target = urlsplit(urljoin(f"http://localhost/{name}", path)).path.lstrip("/") if path else name
            if not (site / unquote(target)).is_file() or (
                anchor and target in documents and unquote(anchor) not in documents[target].ids
            ):
                broken.append(f"{name}: {link}")
    assert not broken


def test_pages_load_nothing_from_elsewhere(documents: dict[str, Document]) -> None:
    outside = {name: [a for a in document.loaded if is_outside(a)] for name, document in documents.items()}
    assert not {name: found for name, found in outside.items() if found}


def test_scripts_are_classic(site: Path) -> None:
    """Modules and fetch do not work from file://."""
    for path in site.rglob("*.html"):
        assert 'type="module"' not in path.read_text(encoding="utf-8"), path
    for path in [*(site / "assets" / "explorables").glob("*.js"), site / "assets" / "search" / "search.js"]:
        assert not re.search(r"\bfetch\(|^\s*(import|export)\s", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_what_can_be_downloaded_is_there(site: Path) -> None:
    version = notebooks.project()["version"]
    wheel = site / "chapters" / f"hvae_tutorial-{version}-py3-none-any.whl"
    assert "hvae_tutorial/special.py" in zipfile.ZipFile(wheel).namelist()
    for source in notebooks.sources():
        for path in (source, source.with_suffix(".ipynb")):
            assert (site / "chapters" / path.name).read_bytes() == path.read_bytes()
        page = (site / "chapters" / f"{source.stem}.html").read_text(encoding="utf-8")
        for name in (source.name, f"{source.stem}.ipynb"):
            assert f'download="" href="{name}"' in page


def test_there_is_no_dead_badge(site: Path) -> None:
    if notebooks.project()["urls"]["Repository"]:
        pytest.skip("the repository has an address: test_hooks.py sees to the badges")
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert "colab.research.google.com/github" not in page, path
        assert "blob/main" not in page, path


def test_figures_are_described_and_of_known_size(documents: dict[str, Document]) -> None:
    seen = 0
    for name, document in documents.items():
        for drawing in document.drawings:
            assert len((drawing["aria-label"] or "").split()) >= 5, (name, drawing)
            assert int(drawing["width"] or 0) > 100, (name, drawing)
            assert int(drawing["height"] or 0) > 100, (name, drawing)
            seen += 1
    assert seen >= 3 * (len(notebooks.sources()) - 1)


def test_names_within_figures_are_not_shared(documents: dict[str, Document]) -> None:
    """A figure whose clipping path or mark has the name of another's would be cut or drawn like that one."""
    assert not {name: document.repeated for name, document in documents.items() if document.repeated}


@dataclass
class Visit:
    """What was seen of one page."""

    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    overflow: int = 0  # pixels that a phone would have to scroll sideways
    sent: int = 0  # bytes without images, text compressed
    unpacked: int = 0  # bytes without images and figures


# Formulas that were not typeset, pictures that do not load, blocks of code without a button.
STATE = """async () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const images = [...document.images];
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map((image) => image.decode().catch(() => {})));
  const article = document.querySelector("article");
  const text = article.cloneNode(true);
  for (const node of text.querySelectorAll("pre, code, script, .output")) node.remove();
  return {
    formulas: document.querySelectorAll(".arithmatex").length,
    typeset: [...document.querySelectorAll(".arithmatex")].filter((n) => n.querySelector("math")).length,
    raw: text.textContent.match(/\\$[^$]{0,40}|\\\\[(\\[]|\\*\\*\\w/g) || [],
    titles: [...document.querySelectorAll(".md-nav, .md-footer")].filter((n) => /\\\\\\(/.test(
      [...n.querySelectorAll(".md-ellipsis")].map((e) => [...e.childNodes].filter((c) => c.nodeType === 3)
        .map((c) => c.data).join("")).join(""))).length,
    broken: images.filter((image) => !image.complete || !image.naturalWidth).map((image) => image.src),
    nameless: images.filter((image) => !image.hasAttribute("alt")).length,
    code: article.querySelectorAll("pre > code").length,
    buttons: article.querySelectorAll("button[data-md-type='copy'], button.md-clipboard, .md-code__button").length,
  };
}"""


@contextmanager
def opened(browser, **options: Any) -> Iterator[Any]:
    """A context of its own, patient with a busy machine."""
    context = browser.new_context(**{"viewport": DESK, **options})
    context.set_default_timeout(120_000)
    try:
        yield context
    finally:
        context.close()


def visit(browser, base: str, name: str) -> Visit:
    """Open a page in a fresh context, with everything blocked that is not local."""
    seen = Visit()
    host = urlsplit(base).netloc

    def guard(route) -> None:
        parts = urlsplit(route.request.url)
        if parts.scheme in {"file", "data", "blob"} or (host and parts.netloc == host):
            route.continue_()
        else:
            seen.outside.append(route.request.url)
            route.abort()

    with opened(browser) as context:
        context.route("**/*", guard)
        look(context.new_page(), f"{base}/{name}", seen, served=bool(host))
    return seen


def look(page, address: str, seen: Visit, *, served: bool) -> None:
    """Note what is to be seen of a page: on a desk, then on a phone."""
    page.on("console", lambda m: seen.complaints.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("requestfailed", lambda request: seen.complaints.append(f"{request.url}: {request.failure}"))
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))
    page.goto(address, wait_until="load")
    page.wait_for_function("document.fonts.ready.then(() => true)")
    page.wait_for_timeout(100)
    for response in responses if served else []:
        kind = response.request.resource_type
        if kind != "image":
            body = response.body()
            seen.unpacked += len(FIGURE.sub(b"", body))
            seen.sent += len(body if kind == "font" else gzip.compress(body, 6))
    seen.state = page.evaluate(STATE)
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(50)
    seen.overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def names(documents: dict[str, Document]) -> list[str]:
    return [name for name in documents if name != "404.html"]


@pytest.fixture(scope="module")
def from_files(browser, site: Path, documents: dict[str, Document]) -> dict[str, Visit]:
    return {name: visit(browser, site.as_uri(), name) for name in names(documents)}


@pytest.fixture(scope="module")
def from_server(browser, served: str, documents: dict[str, Document]) -> dict[str, Visit]:
    return {name: visit(browser, served, name) for name in names(documents)}


@pytest.fixture(scope="module", params=["from_files", "from_server"])
def visits(request: pytest.FixtureRequest) -> dict[str, Visit]:
    return request.getfixturevalue(request.param)


def test_pages_load_without_complaints(visits: dict[str, Visit]) -> None:
    assert not {name: seen.complaints for name, seen in visits.items() if seen.complaints}


def test_no_request_leaves_the_machine(visits: dict[str, Visit]) -> None:
    assert not {name: seen.outside for name, seen in visits.items() if seen.outside}


def test_formulas_are_typeset(visits: dict[str, Visit]) -> None:
    for name, seen in visits.items():
        state = seen.state
        assert state["typeset"] == state["formulas"], name
        assert not state["raw"], (name, state["raw"])
        assert not state["titles"], name
    assert sum(seen.state["formulas"] for seen in visits.values()) > 100


def test_pictures_load(visits: dict[str, Visit]) -> None:
    assert not {name: seen.state["broken"] for name, seen in visits.items() if seen.state["broken"]}
    assert not any(seen.state["nameless"] for seen in visits.values())


def test_code_can_be_copied(visits: dict[str, Visit]) -> None:
    for name, seen in visits.items():
        assert seen.state["buttons"] >= seen.state["code"] > -1, name
    assert visits["reproduce.html"].state["buttons"] >= 4


def test_nothing_is_wider_than_a_phone(visits: dict[str, Visit]) -> None:
    assert not {name: seen.overflow for name, seen in visits.items() if seen.overflow > 0}


def test_pages_are_light(from_server: dict[str, Visit]) -> None:
    weights = {name: (seen.sent, seen.unpacked) for name, seen in from_server.items()}
    print(*(f"{sent:8d} {unpacked:8d}  {name}" for name, (sent, unpacked) in weights.items()), sep="\n")
    globe = {"chapters/00_welcome.html": GLOBE}
    assert not {name: sent for name, (sent, _) in weights.items() if not 10_000 < sent <= SENT + globe.get(name, 0)}
    assert not {name: raw for name, (_, raw) in weights.items() if not 50_000 < raw <= UNPACKED + globe.get(name, 0)}


def test_pages_need_no_script_for_formulas(browser, site: Path) -> None:
    with opened(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/chapters/03_bessel.html")
        shown = page.locator("article").inner_text()
    assert "κ" in shown
    assert not re.search(r"\\\\[(\[]|\\\\kappa", shown)


@pytest.mark.parametrize("origin", ["file", "http"])
def test_search_loads_its_documents_when_the_first_word_is_typed_and_finds_bessel(
    browser, site: Path, served: str, origin: str
) -> None:
    with opened(browser) as context:
        page = context.new_page()
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        page.goto(f"{site.as_uri() if origin == 'file' else served}/index.html")
        page.locator(".md-search__input").click()
        page.get_by_text("Type to start searching").wait_for()
        assert not {"documents.js", "worker.js"} & set(asked)
        page.locator(".md-search__input").press_sequentially("Bessel", delay=30)
        results = page.locator(".md-search-result__item")
        results.first.wait_for(timeout=30_000)
        assert "bessel" in results.first.inner_text().lower()
        results.first.locator("a").first.click()
        page.wait_for_url(lambda address: "index.html" not in address)
        assert "bessel" in page.locator("article").inner_text().lower()


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("κ", ("chapters/", "glossary", "notation")),
        ("kappa", ("chapters/", "glossary", "notation")),
        ("reparameterisation", ("chapters/", "glossary")),
        ("reparametrization", ("chapters/", "glossary")),
    ],
)
def test_search_knows_letters_and_spellings_and_ranks_chapters_before_the_library(
    browser, site: Path, query: str, first: tuple[str, ...]
) -> None:
    found = searched(browser, site, query)
    assert found
    assert found[0].startswith(first)


def test_search_does_not_find_what_all_chapters_have_in_common(browser, site: Path) -> None:
    assert sum(address.startswith("chapters/") for address in searched(browser, site, "colab")) <= 2


def searched(browser, site: Path, query: str) -> list[str]:
    """The pages that a search finds, best first."""
    with opened(browser) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/cite.html")
        page.locator(".md-search__input").click()
        page.locator(".md-search__input").press_sequentially(query, delay=30)
        page.locator(".md-search__input").press("End")  # letters that no key has make no event of a key
        results = page.locator(".md-search-result__item > a, .md-search-result__link")
        results.first.wait_for(timeout=30_000)
        addresses = results.evaluate_all("links => links.map((link) => link.href)")
    pages = (urldefrag(address)[0].partition("?")[0].removeprefix(f"{site.as_uri()}/") for address in addresses)
    return list(dict.fromkeys(pages))


def test_the_keyboard_reaches_navigation_and_search(browser, site: Path) -> None:
    with opened(browser) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/notation.html")
        reached = []
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("`${document.activeElement.className} ${document.activeElement.innerText}`"))
        assert "md-skip" in reached[0]
        assert any("md-search__input" in element for element in reached)
        assert any("md-nav__link" in element for element in reached)
        page.keyboard.press("Escape")
        page.locator(".md-nav--primary a.md-nav__link", has_text="Results").first.focus()
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert float(width.removesuffix("px")) >= 1  # where the focus is can be seen
        page.keyboard.press("Enter")
        page.wait_for_url("**/results.html")


def test_previous_and_next_lead_through_the_course(browser, site: Path) -> None:
    with opened(browser) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/index.html")
        for source in notebooks.sources():
            # Not a click: while a page still grows it may land beside the link.
            page.goto(page.locator(".md-footer__link--next").evaluate("link => link.href"))
            assert page.url.endswith(f"/chapters/{source.stem}.html")


def test_paper_is_light_and_holds_the_tables(browser, site: Path) -> None:
    with opened(browser, viewport={"width": 680, "height": 900}, color_scheme="dark") as context:  # A4 and its margins
        page = context.new_page()
        page.emulate_media(media="print")  # before the page is there: colours change slowly
        for name in ("results", "reproduce"):
            page.goto(f"{site.as_uri()}/{name}.html")
            dark = page.evaluate("""() => [...document.querySelectorAll("article :is(p, td, code, code span)")]
              .map((node) => getComputedStyle(node).color.match(/[\\d.]+/g).slice(0, 3).map(Number))
              .filter((colour) => Math.max(...colour) > 225)""")
            assert not dark
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert ground == "rgb(255, 255, 255)"
            wide = page.evaluate("""() => [...document.querySelectorAll("article table")]
              .filter((table) => table.scrollWidth > document.documentElement.clientWidth).length""")
            assert wide == 0


@pytest.mark.parametrize("look", ["light", "dark", "narrow", "narrow-dark"])
def test_looks(browser, site: Path, screenshots: Path, look: str) -> None:
    """Screenshots for people; and that the colour scheme is followed, by figures too."""
    dark = "dark" in look
    options = {"viewport": PHONE if "narrow" in look else DESK, "color_scheme": "dark" if dark else "light"}
    with opened(browser, **options) as context:
        page = context.new_page()
        chapter = notebooks.sources()[-1].stem
        for name in ("index", f"chapters/{chapter}", "exercises", "notation", "results", "api/distributions"):
            page.goto(f"{site.as_uri()}/{name}.html")
            assert page.locator("body").get_attribute("data-md-color-scheme") == ("slate" if dark else "default")
            page.evaluate("document.fonts.ready.then(() => true)")
            page.screenshot(path=screenshots / f"{name.replace('/', '-')}-{look}.png")
        page.goto(f"{site.as_uri()}/chapters/{chapter}.html")
        figure = page.locator("figure svg").first
        figure.scroll_into_view_if_needed()
        page.screenshot(path=screenshots / f"figure-{look}.png")
        background = page.locator("body").evaluate("node => getComputedStyle(node).backgroundColor")
        ground, ink = (
            figure.evaluate(f"node => getComputedStyle(node.querySelector(':not(defs) > {part}')).fill")
            for part in ("path", "text")
        )
        assert ground == background  # no slab of another colour
        assert (min(levels(ink)) > 200) if dark else (max(levels(ink)) < 70)
        assert (max(levels(background)) < 60) == dark


def levels(colour: str) -> list[int]:
    """Red, green and blue of `rgb(...)`."""
    return [int(value) for value in re.findall(r"\d+", colour)[:3]]
