"""What cards say of the notation's letters: a script with the lines of the tables in docs/notation.md."""

import html
import json
import re
from collections import defaultdict
from typing import Any

import typeset
import words
from markdown.extensions.toc import slugify

# Sections whose letters mean something else elsewhere, and the chapters in which they mean this.
CHAPTERS = {
    "The spherical Cauchy law": [4, 13],
    "The auto-encoder": [0, 1, 7, 8, 9, 10, 11, 12, 13, 14],
    "With classes": [10, 11],
    "Graphs": [12],
}


def letters(notation: str) -> dict[str, list[dict[str, Any]]]:
    r"""Return what each letter means, by its TeX without spaces: a line for each section that has it.

    A function such as `\phi_m(\kappa)` is also found by its name alone, `\phi_m`.

    Args:
        notation: The page in Markdown.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    section = ""
    for line in notation.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if not line.startswith("|"):
            continue
        names, meaning, code = (cell.strip() for cell in line.strip("|").split("|"))
        entry = {
            "section": section,
            "id": slugify(section, "-"),
            "chapters": CHAPTERS.get(section),
            "text": _inline(meaning),
            "code": _inline(code),
        }
        for tex in re.findall(r"\$(.+?)\$", names):
            name = "".join(tex.split())
            for key in dict.fromkeys([name, name.removesuffix(r"(\kappa)")]):
                found[key].append({"name": words.plain_formula(key), **entry})
    return dict(found)


def script(found: dict[str, list[dict[str, Any]]]) -> str:
    """Return what `letters` returns as a script."""
    return f"const hvaeLetters = {json.dumps(found, ensure_ascii=False)};\n"


def _inline(text: str) -> str:
    prose, *rest = re.split(r"\$(.+?)\$", text)
    parts = [html.escape(prose, quote=False)]
    for formula, after in zip(rest[::2], rest[1::2], strict=True):
        parts += [typeset.mathml(formula), html.escape(after, quote=False)]
    return re.sub(r"`(.+?)`", r"<code>\1</code>", "".join(parts))
