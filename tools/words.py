"""Markdown and formulas as plain words: for descriptions of pages, and for the search."""

import re
import unicodedata

SIGNS = {
    "phi": "φ",
    "epsilon": "ε",
    "theta": "θ",
    "cdot": "·",
    "ge": "≥",
    "le": "≤",
    "approx": "≈",
    "infty": "∞",
    "to": "→",
}


def plain_formula(tex: str) -> str:
    r"""Return a formula in one line of text: κ for `\kappa`, without braces and commands that only set type."""
    text = re.sub(r"\\(?:mathrm|mathbb|mathcal|text|operatorname|left|right|bigl|bigr|tfrac|frac|hat)\b", "", tex)
    text = re.sub(r"\\([a-zA-Z]+)", _letter, text)
    return " ".join(re.sub(r"[{}\\]", "", re.sub(r"\\[,;:! ]", " ", text)).split())


def greek(text: str) -> list[str]:
    """Return the names of the Greek letters in a text: kappa for κ."""
    names = {unicodedata.name(letter, "") for letter in set(text)}
    found = {re.fullmatch(r"GREEK (?:SMALL|CAPITAL) LETTER (\w+)", name) for name in names}
    return sorted({letter[1].lower() for letter in found if letter})


def plain(markdown: str) -> str:
    """Return a paragraph of Markdown as text."""
    text = re.sub(r"\$(.+?)\$", lambda formula: plain_formula(formula[1]), markdown)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"\*\*|(?<!\w)\*|\*(?!\w)|`|\{ \.\w+ \}", "", text).split())


def description(markdown: str, length: int = 200) -> str:
    """Return the first paragraph of a page as text, its sentences up to a length; at least one."""
    paragraphs = re.split(r"\n\s*\n", markdown.strip())
    first = next((plain(p) for p in paragraphs if re.match(r"[A-Z`*\[]", p.strip()) and len(p) > 40), "")
    sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", first)
    chosen = sentences[:1]
    for sentence in sentences[1:]:
        if len(" ".join([*chosen, sentence])) > length:
            break
        chosen.append(sentence)
    return " ".join(chosen)


def _letter(command: re.Match[str]) -> str:
    name = command[1]
    if name in SIGNS:
        return SIGNS[name]
    kind = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {kind} LETTER {name.upper()}")
    except KeyError:
        return f" {name}"
