"""Formulas of the site are MathML: shown, spoken and broken into lines without a script, in a font that has them."""

import html
import io
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import notebooks
import numpy as np
import pytest
import typeset
from PIL import Image
from test_site import opened

STYLES = (notebooks.ROOT / "docs" / "assets" / "math" / "math.css").read_text(encoding="utf-8")
ITALIC = {ord("h"): 0x210E}  # of letters, where Unicode has it elsewhere


def pieces(tex: str) -> list[str]:
    """What stands in each part of a formula between which a line may break."""
    return ["".join(part.itertext()) for part in ET.fromstring(f"<p>{typeset.mathml(tex)}</p>")]


def signs(tex: str, *, display: bool = True) -> dict[str, dict[str, str]]:
    """The attributes of the operators, by their text."""
    return {str(sign.text): sign.attrib for sign in ET.fromstring(typeset.mathml(tex, display=display)).iter("mo")}


@pytest.mark.parametrize(
    ("tex", "parts"),
    [
        (r"\kappa", ["κ"]),
        (r"a = b + c", ["a=", "b+", "c"]),
        (r"(a = b)", ["(a=b)"]),
        (r"\log\bigl(1 - x\bigr)", ["log\u2061(1−", "x)"]),
        (r"(0, 1]", ["(0,1]"]),
        (r"(0,1]", ["(0,1]"]),
        (r"x_1,\ldots,x_n", ["x1,", "…,", "xn"]),
    ],
)
def test_lines_break_behind_relations_and_signs_and_not_at_brackets(tex: str, parts: list[str]) -> None:
    assert pieces(tex) == parts


def test_a_sign_behind_which_a_line_may_break_keeps_its_spaces() -> None:
    assert '<mo form="infix">=</mo></math><math>' in typeset.mathml("a = b")


def test_spaces_are_tex_s() -> None:
    tight = {"lspace": "0em", "rspace": "0em"}
    assert signs(r"\sum_{i=1}^n a_i")["="] == tight
    assert signs("j! = k")["!"].items() >= tight.items()
    assert "lspace" not in signs("a = b")["="]
    assert signs(r"a\bigl(b\bigr)c")["("].items() >= {**tight, "form": "prefix"}.items()
    for before in (r"\frac12", r"\tfrac12", "(a)", "E_q", "2"):
        assert re.search('<mspace width="0.1667em"/>(<mrow>)?<mi>log</mi>', typeset.mathml(rf"{before}\log x"))
    assert typeset.mathml(r"\log\log x").count("mspace") == 2
    for before in ("a+", "(", "=", r"a\,+"):
        assert not re.search('<mspace width="0.1667em"/>(<mrow>)?<mi>log</mi>', typeset.mathml(rf"{before}\log x"))
    assert '<mspace width="0.1667em"/><mo>\u2061</mo><mi>|</mi>' in typeset.mathml(r"\max_y|y|", display=True)
    assert typeset.mathml(r"\;x") == "<math><mi>x</mi></math>"


@contextmanager
def shown(browser, folder: Path, formulas: list[str]):
    """A page with formulas, a paragraph each, in the site's font."""
    styles = (notebooks.ROOT / "docs/assets/math/math.css").as_uri()
    page = folder / "formulas.html"
    made = "".join(f"<p>{formula}</p>" for formula in formulas)
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="{styles}">{made}', encoding="utf-8"
    )
    with opened(browser) as context:
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_function("document.fonts.ready.then(() => true)")
        yield tab


def test_scripts_of_letters_and_brackets_stand_in_one_line(browser, tmp_path: Path) -> None:
    formulas = [typeset.mathml(tex, display=True) for tex in (r"A_m\phi_mf_m\beta_mI_m", r"w^2(a)^2\phi^2\beta^2A^2")]
    with shown(browser, tmp_path, formulas) as tab:
        places = tab.evaluate(
            """[...document.querySelectorAll("p")].map((p) => [...p.querySelectorAll("msub, msup")].map((pair) => {
                 const { bottom } = pair.lastElementChild.getBoundingClientRect();
                 return bottom / parseFloat(getComputedStyle(p).fontSize);
               }))"""
        )
    for line in places:
        assert len(line) == 5
        assert max(line) - min(line) < 0.05  # of an em


@pytest.mark.parametrize("display", [True, False])
def test_large_brackets_are_pairs_without_gaps(browser, tmp_path: Path, display: bool) -> None:
    """Also with an exponent or where a line may break behind them; Chromium makes those small, and all too wide."""
    texts = (
        r"(a)",
        r"\bigl(a\bigr)",
        r"\bigl(a\bigr)^2",
        r"\bigl(a - (b)\bigr) = c",
        r"p(z) \propto \bigl(a\bigr)^2 b",
    )
    with shown(browser, tmp_path, [typeset.mathml(tex, display=display) for tex in texts]) as tab:
        brackets = tab.evaluate(
            """[...document.querySelectorAll("p")].map((p) => [...p.querySelectorAll("mo")]
                 .filter((mo) => "()".includes(mo.textContent)).map((mo) => {
                   const { left, right, height } = mo.getBoundingClientRect();
                   const em = parseFloat(getComputedStyle(mo).fontSize);
                   return { height: height / em, at: (left + right) / 2 / em };
                 }))"""
        )
    heights = [[sign["height"] for sign in signs] for signs in brackets]
    small, large = heights[0][0], heights[1][0]
    assert large > 1.1 * small
    assert heights == [
        pytest.approx(expected, rel=0.01)
        for expected in ([small] * 2, [large] * 2, [large] * 2, [large, small, small, large], [small] * 2 + [large] * 2)
    ]
    apart = [signs[1]["at"] - signs[0]["at"] for signs in brackets[:2]]
    assert apart[0] < apart[1] < 1.3 * apart[0]


def test_braces_are_drawn_from_end_to_end(browser, tmp_path: Path) -> None:
    """Chromium leaves parts of a wide one out, in all squares of its drawing that one as narrow as its sign misses."""
    wide = r"\underbrace{a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r + s + t + u + v}_x"
    with shown(browser, tmp_path, [typeset.mathml(wide, display=True)] * 3) as tab:
        braces = tab.locator("mo", has_text="\N{BOTTOM CURLY BRACKET}").all()
        assert len(braces) == 3
        for brace in braces:
            row, over = brace.bounding_box(), brace.locator("xpath=preceding-sibling::*").bounding_box()
            line = {"x": over["x"], "width": over["width"], "y": row["y"], "height": row["height"]}
            picture = Image.open(io.BytesIO(tab.screenshot(clip=line))).convert("L")
            inked = [min(column) < 128 for column in np.asarray(picture).T]
            assert sum(inked) > 0.97 * len(inked)


def test_displayed_formulas_are_blocks_and_in_one_piece() -> None:
    assert typeset.mathml("a = b", display=True).startswith('<math display="block">')
    assert typeset.mathml("a = b", display=True).count("<math") == 1


def test_a_program_that_typesets_ends() -> None:
    """Three times: without the cure each of them waited for V8's thread in about three of five."""
    code = f"import sys; sys.path.insert(0, {str(notebooks.ROOT / 'tools')!r}); import typeset; typeset.mathml('x')"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(typeset.FormulaError, match=r"'\\\\nosuch x' cannot be typeset: .*\\nosuch"):
        typeset.mathml(r"\nosuch x")


def test_formulas_of_a_page_are_typeset_with_the_full_stop_and_nothing_else() -> None:
    text = r"""<p><span class="arithmatex">\(\kappa\)</span> <span class="arithmatex">\(a &lt; b\)</span>,
        <span class="arithmatex">\(m\)</span>.</p> <div data-search-exclude class="arithmatex">\[x\]</div>
        <code>\(x\)</code> <a title="\(x\)">of \(y\)</a> <title>\(x\)</title>"""
    made = typeset.page(text, {r"\kappa"})
    kappa, m = typeset.mathml(r"\kappa"), typeset.mathml("m")
    assert typeset.mathml("a < b").count("<math") == 2
    assert rf'<p><span class="arithmatex" data-tex="\kappa">{kappa}</span> ' in made
    assert '<span class="nobr"><math><mi>b</mi></math>,</span></span>' in made
    assert f'        <span class="nobr">{m}.</span></p>' in made
    assert '<div data-search-exclude class="arithmatex"><math display="block"><mi>x</mi></math></div>' in made
    assert r'<code>\(x\)</code> <a title="\(x\)">of <math><mi>y</mi></math></a> <title>\(x\)</title>' in made


def test_spheres_and_spaces_of_docstrings_become_formulas() -> None:
    text = r'<p title="S^d">On S^(m-1) of R^m, <code>S^d</code>, <span class="arithmatex">\(S^d\)</span>; 2S^d.</p>'
    made = text.replace(
        "On S^(m-1) of R^m",
        r'On <span class="arithmatex">\(S^{m-1}\)</span> of '
        r'<span class="arithmatex">\(\mathbb{R}^{m}\)</span>',
    )
    assert typeset.spaces(text) == made


def font() -> set[int]:
    """The characters that the fonts of formulas say they have."""
    ranges = re.findall(r"U\+([0-9A-F]+)(?:-([0-9A-F]+))?", STYLES)
    return {code for first, last in ranges for code in range(int(first, 16), int(last or first, 16) + 1)}


def as_drawn(element: ET.Element) -> set[int]:
    """The characters that an element shows: single letters slanted, as browsers do."""
    text = element.text or ""
    if element.tag != "mi" or len(text) != 1 or element.get("mathvariant") == "normal":
        return set(map(ord, text))
    code = ord(text)
    for first, last, slanted in [("A", "Z", 0x1D434), ("a", "z", 0x1D44E), ("Α", "Ω", 0x1D6E2), ("α", "ω", 0x1D6FC)]:
        if ord(first) <= code <= ord(last):
            return {ITALIC.get(code, slanted + code - ord(first))}
    return {code}


@pytest.mark.slow
def test_the_font_has_what_the_formulas_of_the_site_show(site) -> None:
    missing, seen = {}, 0
    for path in site.rglob("*.html"):
        for formula in re.findall(r"<math.*?</math>", path.read_text(encoding="utf-8"), flags=re.DOTALL):
            seen += 1
            shown = set().union(*map(as_drawn, ET.fromstring(formula).iter()))
            if lacking := {chr(code) for code in shown - font()}:
                missing[path.name, html.unescape(re.sub("<[^>]*>", "", formula))] = lacking
    assert seen > 1000
    assert not missing
