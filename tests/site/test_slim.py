"""Of a style sheet goes what asks for classes that no page has, and nothing else."""

import re
from pathlib import Path

import material
import pytest
import slim
from test_site import opened


@pytest.mark.parametrize(
    ("css", "left"),
    [
        (".a{x:1}.b{x:2}", ".a{x:1}"),
        (".a,.b>.a,a .a.b,p{x:1}", ".a,p{x:1}"),
        (".a:is(.b,.c) p,.a:not(.b){x:1}", ".a:is(.b,.c) p,.a:not(.b){x:1}"),
        ("@media print{.a{x:1}.b{x:2}}@media screen{.b{x:2}}", "@media print{.a{x:1}}"),
        ("@supports (x:y){@media print{.a{x:1}.b{y:2}}}", "@supports (x:y){@media print{.a{x:1}}}"),
        ('@charset "UTF-8";@keyframes b{0%{x:1}to{x:2}}@font-face{src:url("b;}.b")}', None),
        ('.a:before{content:".b{}"}.b{x:1}', '.a:before{content:".b{}"}'),
        (
            "[dir=rtl] .a{x:1}[dir=ltr] .a{x:2}:root{--b:url('data:,{.b}')}",
            "[dir=ltr] .a{x:2}:root{--b:url('data:,{.b}')}",
        ),
        (".c-one{x:1}.d-one{x:2}", ".c-one{x:1}"),
        (
            '[data-md-color-scheme=slate]{x:1}[data-md-color-scheme=slate][data-md-color-primary="red"] .a{x:1}',
            "[data-md-color-scheme=slate]{x:1}",
        ),
        (""":root{--b:url("data:a;b(c)}{'")}.b{x:1}""", """:root{--b:url("data:a;b(c)}{'")}"""),
    ],
)
def test_rules_that_ask_for_other_classes_go(css: str, left: str | None) -> None:
    assert slim.stylesheet(css, {"a", "c-"}, {"slate"}) == (css if left is None else left)


def test_pictures_that_nobody_asks_for_go() -> None:
    css = ':root{--a:url("data:;{}");--b:url("data:,b");--c:url("data:,c");--d:1}.a{x:var(--a)}'
    assert slim.without_variables(css, "p{y:var(--c)}") == (
        ':root{--a:url("data:;{}");--c:url("data:,c");--d:1}.a{x:var(--a)}'
    )


def test_classes_of_pages_and_words_of_scripts_are_used() -> None:
    used = slim.used_classes(['<p class="a b-c"> d'], ["e.classList.add('f-g', `h--${i}`)"])
    assert {"a", "b-c", "f-g", "h--", "i"} <= used
    assert "d" not in used


def test_what_a_script_shows_within_other_things_is_used_where_they_are() -> None:
    script = "e('div', 'tab-label', 'tabular', 'menu-item')"
    used = slim.used_classes(['<p class="menu">'], [script], ("tab-", "menu"))
    assert {"menu", "menu-item", "tabular"} <= used
    assert "tab-label" not in used


def test_schemes_and_colours_of_pages_are_used() -> None:
    pages = ['<input data-md-color-scheme="slate" data-md-color-primary="custom" data-md-color-media="dark">']
    assert slim.used_schemes(pages) == {"slate", "custom"}


def test_indentation_goes_but_where_it_is_shown() -> None:
    page = "<p>\n    a\n  <b>b</b></p>\n\n <pre><code>if x:\n    y\n</code></pre>\n  <script>`a\n  b`</script>\n  c"
    assert slim.without_indentation(page) == (
        "<p>\na\n<b>b</b></p>\n<pre><code>if x:\n    y\n</code></pre>\n<script>`a\n  b`</script>\nc"
    )


@pytest.mark.slow
def test_the_colours_of_both_schemes_are_kept_and_no_others(site: Path) -> None:
    (made,) = (site / "assets" / "stylesheets").glob("palette.*.css")
    (original,) = Path(material.__file__).parent.rglob(made.name)
    before, after = (path.read_text(encoding="utf-8") for path in (original, made))
    assert len(after) < 0.4 * len(before)
    assert "[data-md-color-scheme=slate]" in after
    assert "primary=indigo" in before
    assert "primary=indigo" not in after


@pytest.mark.slow
def test_what_is_gone_fits_no_element_of_a_page(browser, site: Path) -> None:
    (made,) = (site / "assets" / "stylesheets").glob("main.*.css")
    (original,) = Path(material.__file__).parent.rglob(made.name)
    before, after = (path.read_text(encoding="utf-8") for path in (original, made))
    assert len(after) < 0.65 * len(before)
    heads = re.findall(r"(?<=[{}])[^{}@;]*\.md-[^{}@;]*(?={)|(?<=[{}])\.[\w-]+[^{}@;]*(?={)", before)
    gone = [head for head in heads if f"{head}{{" not in after and not re.search(r":is\(|:not\(|rtl", head)]
    assert len(gone) > 50
    parts = [part for head in gone for part in head.split(",") if f"{part}{{" not in after and f"{part}," not in after]
    parts = [re.sub(r"::?(before|after|placeholder)\b", "", part) for part in parts]
    with opened(browser) as context:
        page = context.new_page()
        for name in ("index", "chapters/04_sampling", "results", "api/models", "404"):
            page.goto(f"{site.as_uri()}/{name}.html")
            assert not page.evaluate(FITTING, parts)


# What of some selectors fits an element.
FITTING = """(selectors) => selectors.filter((selector) => {
  try { return document.querySelector(selector); } catch { return false; }
})"""


def test_style_sheets_lose_comments_and_indentation() -> None:
    css = '/* Two\n   lines. */\n\na {\n  color: red; /* why */\n}\n\n\n/* b */ b::before {\n  content: "a  b";\n}\n'
    assert slim.without_comments(css) == 'a {\ncolor: red;\n}\nb::before {\ncontent: "a  b";\n}\n'
