"""What cards say of the notation's letters: a script with the lines of the tables in docs/notation.md.

The script is loaded when the first card opens; before that a page needs what `known` says.
"""

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
    "The envelope": [3, 4, 5],
    "The auto-encoder": [0, 1, 7, 8, 9, 10, 11, 12, 13, 14],
    "With classes": [10, 11],
    "Graphs": [12],
}
EVERY = range(100)


def letters(notation: str) -> dict[str, list[dict[str, str]]]:
    r"""Return what each letter means, by its TeX without spaces: a line for each section that has it.

    A function such as `\phi_m(\kappa)` is also found by its name alone, `\phi_m`.

    Args:
        notation: The page in Markdown.
    """
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    section = ""
    for line in notation.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if not line.startswith("|"):
            continue
        names, meaning, code = (cell.strip() for cell in line.strip("|").split("|"))
        entry = {
            "section": section,
            "text": _inline(meaning),
            "code": _inline(code),
        }
        for tex in re.findall(r"\$(.+?)\$", names):
            name = "".join(tex.split())
            for key in dict.fromkeys([name, name.removesuffix(r"(\kappa)")]):
                found[key].append(entry)
    return dict(found)


def script(found: dict[str, list[dict[str, str]]]) -> str:
    """Return what `letters` returns as a script."""
    return f"const hvaeLetters = {json.dumps(found, ensure_ascii=False)};\n"


def known(found: dict[str, list[dict[str, str]]], page: str) -> dict[str, dict[str, Any]]:
    """Return the letters that mean something in a page: the name, where it leads to, and the lines that hold there.

    Args:
        found: What `letters` returns.
        page: The address within the site. Some lines hold in some chapters alone.
    """
    chapter = re.match(r"chapters/(\d\d)_", page)
    made = {}
    for tex, lines in found.items():
        sections = [line["section"] for line in lines]
        valid = [at for at, name in enumerate(sections) if not chapter or int(chapter[1]) in CHAPTERS.get(name, EVERY)]
        if valid:
            first = lines[valid[0]]
            made[tex] = {"name": words.plain_formula(tex), "id": slugify(first["section"], "-"), "lines": valid}
    return made


def _inline(text: str) -> str:
    prose, *rest = re.split(r"\$(.+?)\$", text)
    parts = [html.escape(prose, quote=False)]
    for formula, after in zip(rest[::2], rest[1::2], strict=True):
        parts += [typeset.mathml(formula), html.escape(after, quote=False)]
    return re.sub(r"`(.+?)`", r"<code>\1</code>", "".join(parts))
