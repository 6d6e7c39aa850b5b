"""A card says what the notation's page says, and only where the letter means that."""

import json

import cards
import pytest
import typeset
from test_site import DESK, PHONE, opened

PAGE = """\
# Notation

## The sphere

| letter | meaning | in code |
|---|---|---|
| $m$ | number of coordinates of $\\mathbb{R}^m$ | `m`, `ambient_dim` |
| $u$, $v$ | where $a < b$ | |

## Graphs

| letter | meaning | in code |
|---|---|---|
| $A_m (\\kappa)$ | mean | `f(kappa)` |
| $v$ | a node | |
| N-VAE | no letter | |
"""


def test_letters_have_the_meanings_of_the_tables() -> None:
    found = cards.letters(PAGE)
    assert found.keys() == {"m", "u", "v", r"A_m(\kappa)", "A_m"}
    assert found["m"] == [
        {
            "section": "The sphere",
            "text": f"number of coordinates of {typeset.mathml(chr(92) + 'mathbb{R}^m')}",
            "code": "<code>m</code>, <code>ambient_dim</code>",
        }
    ]
    assert found["u"][0]["text"] == f"where {typeset.mathml('a < b')}"


def test_a_page_knows_the_letters_that_mean_something_there() -> None:
    found = cards.letters(PAGE)
    assert cards.known(found, "chapters/12_link_prediction.md")["v"] == {
        "name": "v",
        "id": "the-sphere",
        "lines": [0, 1],
    }
    assert cards.known(found, "api/special.md")["v"]["lines"] == [0, 1]
    known = cards.known(found, "chapters/03_bessel.md")
    assert known["v"]["lines"] == [0]
    assert r"A_m(\kappa)" not in known
    graphs = {"N": [{"section": "Graphs", "text": "number of nodes", "code": ""}]}
    assert cards.known(graphs, "chapters/03_bessel.md") == {}


def test_the_script_is_the_page_s() -> None:
    found = cards.letters(PAGE)
    assert json.loads(cards.script(found).removeprefix("const hvaeLetters = ").removesuffix(";\n")) == found


@pytest.fixture
def chapter(browser, site):
    """Chapter 2, opened from a file."""
    with opened(browser, viewport=DESK, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/chapters/02_von_mises_fisher.html")
        yield page


@pytest.mark.slow
def test_a_letter_opens_its_card_under_the_pointer_and_escape_closes_it(chapter) -> None:
    card = chapter.locator("#hvae-card")
    kappa = chapter.locator(r"article p > [data-tex='\\kappa']").first
    assert card.is_hidden()
    kappa.locator("mi").hover()
    card.wait_for(state="visible")
    assert "concentration" in card.inner_text()
    assert card.locator("math").count() >= 2
    chapter.keyboard.press("Escape")
    assert card.is_hidden()


@pytest.mark.slow
def test_the_keyboard_reaches_each_letter_once_and_it_leads_to_the_notation(chapter) -> None:
    links = chapter.locator("article a.letter")
    shown = [links.nth(i).locator("[data-tex]").get_attribute("data-tex") for i in range(links.count())]
    assert {r"\kappa", "m"} <= set(shown)
    assert len(shown) == len(set(shown))
    first = chapter.locator("article a.letter", has_text="κ").first
    chapter.keyboard.press("Tab")  # so that focus is shown
    first.focus()
    card = chapter.locator("#hvae-card")
    card.wait_for(state="visible")
    assert first.get_attribute("aria-describedby") == "hvae-card"
    chapter.keyboard.press("Tab")
    card.wait_for(state="hidden")
    first.focus()
    chapter.keyboard.press("Enter")
    chapter.wait_for_url("**/notation.html#the-von-mises-fisher-law")
    assert chapter.locator("a.letter").count() == 0


@pytest.mark.slow
def test_graphs_letters_mean_nodes_in_their_chapter_alone(chapter) -> None:
    chapter.locator(r"article p > [data-tex='\\kappa'] mi").first.hover()
    chapter.locator("#hvae-card").wait_for(state="visible")  # the letters are loaded
    assert chapter.evaluate("hvaeLetters.N[0].text") == "number of nodes"
    assert chapter.locator("a.letter", has_text="N").filter(has_not_text="_").count() == 0


ITEM = '</h1><p><a href="#ref-x">Wood (1994)</a></p><ul><li><a id="ref-x"></a>A. T. A. Wood: <i>x</i>.</li></ul>'


@pytest.mark.slow
def test_a_tap_on_a_citation_shows_the_reference_and_a_second_one_follows_it(browser, site) -> None:
    path = site / "chapters/02_von_mises_fisher.html"
    text = path.read_text(encoding="utf-8").replace("</h1>", ITEM, 1)
    with opened(browser, viewport=PHONE, has_touch=True, reduced_motion="reduce") as context:
        page = context.new_page()
        page.route("**/*.html", lambda route: route.fulfill(body=text, content_type="text/html"))
        page.goto(path.as_uri())
        citation = page.locator('a[href="#ref-x"]')
        citation.tap()
        card = page.locator("#hvae-card")
        card.wait_for(state="visible")
        assert card.inner_text() == "A. T. A. Wood: x."
        assert page.evaluate("location.hash") == ""
        box = card.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        page.locator("h1").tap()
        assert card.is_hidden()
        citation.tap()
        citation.tap()
        assert page.evaluate("location.hash") == "#ref-x"
