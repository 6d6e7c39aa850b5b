"""Formulas as MathML when the site is built: a page needs no script for them, and shows and speaks them without one.

Temml, KaTeX's parser with an output of MathML, reads the TeX and refuses what it does not know. What follows is what it
leaves to be done: TeX's spaces that MathML does not have by itself, and places where a line may break.
"""

import atexit
import functools
import html
import itertools
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from py_mini_racer import JSEvalException, MiniRacer

TEMML = Path(__file__).parent / "temml" / "temml.min.js"
FORMULA = re.compile(
    r'(<(span|div)\b[^>]*class="arithmatex")>\s*\\[(\[](.*?)\\[)\]]\s*</(?:span|div)>([.,;:?!)’”]*)', re.DOTALL
)
BARE = re.compile(r"\\\((.+?)\\\)")  # in titles, which the navigation repeats
SPACE = re.compile(r"\b([SR])\^(?:\(([^()]+)\)|([a-z0-9]))")
LITERAL = re.compile(r"(<(?:pre|code|script|style|title)\b.*?</(?:pre|code|script|style|title)>|<[^>]*>)", re.DOTALL)

APPLY = "\u2061"  # after the name of a function, unseen
THIN = {"width": "0.1667em"}
SCRIPTS = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
BRACKETS = {"(": "prefix", "[": "prefix", "{": "prefix", ")": "postfix", "]": "postfix", "}": "postfix"}


class FormulaError(ValueError):
    """TeX that cannot be typeset."""


def page(text: str, letters: Collection[str] = ()) -> str:
    r"""Return a page with all its formulas typeset.

    Args:
        text: HTML with formulas as `pymdownx.arithmatex` has them, and `\(...\)` in titles.
        letters: TeX without spaces; a formula that is one of them keeps it, as `data-tex`.
    """

    def formula(found: re.Match[str]) -> str:
        opening, name, tex, after = found[1], found[2], html.unescape(found[3]), found[4]
        key = "".join(tex.split())
        kept = f' data-tex="{html.escape(key)}"' if key in letters else ""
        made = mathml(tex, display=name == "div")
        first, last = made[: made.rindex("<math")], made[made.rindex("<math") :]
        if first:  # no line begins with a full stop
            return f"{opening}{kept}>{first}{_unbreakable(last, after)}</{name}>"
        whole = f"{opening}{kept}>{made}</{name}>" if kept or name == "div" else made
        return _unbreakable(whole, after)

    text = FORMULA.sub(formula, text)
    parts = LITERAL.split(text)  # every second is a tag, or code
    parts[::2] = [BARE.sub(lambda found: mathml(html.unescape(found[1])), part) for part in parts[::2]]
    return "".join(parts)


def _unbreakable(formula: str, after: str) -> str:
    return f'<span class="nobr">{formula}{after}</span>' if after else formula


def spaces(text: str) -> str:
    r"""Return the prose of docstrings, in HTML, with formulas for spaces: `S^(m-1)` becomes `\(S^{m-1}\)`."""

    def formula(found: re.Match[str]) -> str:
        letter = {"S": "S", "R": r"\mathbb{R}"}[found[1]]
        return rf'<span class="arithmatex">\({letter}^{{{found[2] or found[3]}}}\)</span>'

    parts = re.split(r"(<(?:span|div)\b[^>]*arithmatex.*?</(?:span|div)>)|" + LITERAL.pattern, text, flags=re.DOTALL)
    parts[::3] = [SPACE.sub(formula, part) for part in parts[::3]]  # the others are formulas, code and tags
    return "".join(filter(None, parts))


@functools.cache
def mathml(tex: str, *, display: bool = False) -> str:
    r"""Return a formula as MathML: one element, or several between which a line may break.

    Args:
        tex: without delimiters.
        display: stands on a line of its own.

    Raises:
        FormulaError: If it is not known what the TeX means.
    """
    options = {"displayMode": display, "throwOnError": True, "wrap": "none" if display else "tex"}
    tex = re.sub(r"(?<=\d),(?=\d)", ", ", tex)  # two numbers, no decimal comma
    try:
        made = _temml().call("temml.renderToString", tex, options)
    except JSEvalException as error:
        raise FormulaError(f"the formula {tex!r} cannot be typeset: {str(error).splitlines()[0]}") from error
    root = ET.fromstring(made)
    _tidy(root, script=False)
    if display:
        return _written([child for row in root for child in (row if row.tag == "mrow" else [row])], display="block")
    pieces = [list(child) if child.tag == "mrow" and not child.attrib else [child] for child in root]
    if pieces[0][0].tag == "mspace" and len(pieces[0]) > 1:
        del pieces[0][0]  # of a formula that begins with \;
    pieces = _unbroken(pieces)
    for piece in pieces[:-1]:
        if piece[-1].tag == "mo" and piece[-1].text not in BRACKETS:
            piece[-1].set("form", "infix")  # a line may break behind it, its spaces stay
    return "".join(map(_written, pieces))


@functools.cache
def _temml() -> Any:
    engine = MiniRacer()
    atexit.register(engine.close)  # left to the interpreter's end it can wait for its thread for ever
    engine.eval(TEMML.read_text(encoding="utf-8"))
    return engine


def _tidy(element: ET.Element, *, script: bool) -> None:
    """Give the operators TeX's spaces, and leave out what says nothing."""
    for name in ("wrap", "fence"):
        element.attrib.pop(name, None)
    if element.get("class") in {"tml-display", "mathcal"}:
        del element.attrib["class"]
    if element.tag == "mo":
        if "minsize" in element.attrib and element.text in BRACKETS:  # \bigl(
            element.set("form", BRACKETS[element.text])
            script = True
        if element.text == "!" or (script and element.text != APPLY):
            element.attrib.update(lspace="0em", rspace="0em")
        if element.text == "\u203e":
            element.text = "\u00af"  # the bar that the font has
    for index, child in enumerate(element):
        _tidy(child, script=script or (element.tag in SCRIPTS and index > 0))
    for child in list(element) if element.tag in {"math", "mrow"} else []:
        if (child.tag == "mrow" and not len(child)) or (child.tag == "mspace" and not child.attrib):
            element.remove(child)
    for index, child in enumerate(element):
        if child.tag == "mrow" and len(child) == 1 and not child.attrib:
            element[index] = child[0]
    if element.tag in SCRIPTS and "minsize" in element[0].attrib:
        row = ET.Element("mrow")  # without one, a bracket with an exponent stays small in Chromium
        row.append(element[0])
        element[0] = row
    if element.tag == "mrow" and len(element) > 1:
        for child, form in ((element[0], "prefix"), (element[-1], "postfix")):
            if child.tag == "mo" and child.get("form") == form:
                del child.attrib["form"]  # it is, by its place
    if element.tag in {"math", "mrow"}:
        _space(element)


def _space(row: ET.Element) -> None:
    """A thin space before the name of a function, but not behind a sign or an opening bracket; and before a bar."""
    for index in range(len(row) - 1, 0, -1):
        before, after = row[index - 1], row[index]
        follows = row[index + 1].text if index + 1 < len(row) else None
        name = after[0] if after.tag in SCRIPTS | {"mrow"} and len(after) else after
        named = name.tag == "mi" and (
            follows == APPLY or (after.tag == "mrow" and after[1:2] and after[1].text == APPLY)
        )
        last = before[-1] if before.tag == "mrow" and len(before) else before
        free = last.tag != "mspace" and (last.tag != "mo" or last.text in {")", "]"})
        if (named and free) or (before.text == APPLY and after.text in {"|", "\u2016"}):
            row.insert(index, ET.Element("mspace", THIN))


def _for_firefox(math: ET.Element) -> None:
    """A space before the unseen sign, as Firefox sets its own behind it; primes in a row, or it makes them large."""
    for element in list(math.iter()):
        for index in range(len(element) - 1):
            if element[index].text == APPLY and element[index + 1].tag == "mspace":
                element[index], element[index + 1] = element[index + 1], element[index]
        if element.tag in SCRIPTS and "tml-prime" in element[-1].get("class", ""):
            row = ET.Element("mrow")
            row.append(element[-1])
            element[-1] = row


def _unbroken(pieces: list[list[ET.Element]]) -> list[list[ET.Element]]:
    """Join pieces where no line should break.

    That is behind an opening bracket or a function's name, at a comma in brackets, before a closing one or a comma.
    """
    joined: list[list[ET.Element]] = []
    depth = 0  # of brackets
    for piece in pieces:
        last = joined[-1][-1] if joined else None
        signs = [] if last is None else list(last.iter("mo"))
        sticks = bool(signs) and (
            signs[-1].text == APPLY
            or (last is signs[-1] and last.get("form") == "prefix")
            or (last is signs[-1] and last.get("separator") == "true" and depth > 0)
        )
        first = piece[0]
        while len(first) and first.tag in SCRIPTS | {"mrow"}:
            first = first[0]
        closes = first.tag == "mo" and (first.get("form") == "postfix" or first.get("separator") == "true")
        if joined and (sticks or closes):
            joined[-1] += piece
        else:
            joined.append(piece)
        text = "".join(itertools.chain.from_iterable(element.itertext() for element in piece))
        depth += sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))
    return joined


def _written(elements: list[ET.Element], **attributes: str) -> str:
    math = ET.Element("math", attributes)
    math.extend(elements)
    _for_firefox(math)
    return ET.tostring(math, encoding="unicode").replace(" />", "/>")
