"""axe-core finds no barrier of ours, in the light and in the dark; the theme's own are listed."""

from pathlib import Path

import axe_playwright_python
import pytest
from test_site import DESK, PHONE, opened

pytestmark = pytest.mark.slow

PAGES = ("index", "chapters/05_gradients", "results", "exercises", "formulas", "404")

# The theme's, by rule, and what stands in the address of an element: the buttons of each block of code are a navigation
# landmark, all without a name.
THEME = {"landmark-unique": ".md-code__nav"}

# axe looks long at every mark of a formula and every word of code, and they are all alike: one of ten is left.
THIN = (
    """document.querySelectorAll(".katex-html, pre code > span").forEach((node, i) => { if (i % 10) node.remove(); })"""
)
# A page in the dark differs in nothing but its colours.
RULES = {"light": "{resultTypes: ['violations']}", "dark": "{runOnly: ['color-contrast']}"}


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which the package brings with it."""
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", RULES)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_but_the_theme_s(browser, served: str, axe: str, name: str, scheme: str) -> None:
    with opened(browser, viewport=DESK, color_scheme=scheme, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(f"{served}/{name}.html")
        page.evaluate(axe)
        page.evaluate(THIN)
        found = page.evaluate(f"axe.run({RULES[scheme]})")
    ours = [
        (violation["id"], node["target"], node["html"][:120])
        for violation in found["violations"]
        for node in violation["nodes"]
        if THEME.get(violation["id"], "none") not in str(node["target"])
    ]
    assert len(found["passes"]) > (20 if scheme == "light" else 0)
    assert not ours


def test_axe_sees_what_is_wrong(browser, site, axe: str) -> None:
    with opened(browser, viewport=DESK) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/cite.html")
        page.evaluate("document.querySelector('article p').style.color = '#ccc'")
        page.evaluate(axe)
        found = page.evaluate("axe.run({resultTypes: ['violations']})")
    assert "color-contrast" in {violation["id"] for violation in found["violations"]}


def test_controls_of_an_explorable_are_large_enough_for_a_finger(browser, site) -> None:
    with opened(browser, viewport=PHONE, has_touch=True) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/index.html")
        controls = page.locator(".explorable .options span, .explorable button")
        controls.first.wait_for()
        heights = controls.evaluate_all("nodes => nodes.map((node) => node.getBoundingClientRect().height)")
    assert min(heights) >= 44
