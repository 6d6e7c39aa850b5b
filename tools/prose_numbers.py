"""Numbers in a chapter's prose that no code has: `python tools/prose_numbers.py [SLUG ...]` lists them.

A number with a decimal point or a unit, in a Markdown cell or typed in a figure's caption or alt text, is a claim. It
has to occur in the chapter, to the digits given: printed, said by `plotting.say`, or as a number in code. What is
quoted is no evidence: words in code, captions.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import nbformat
import notebooks
from nbformat import NotebookNode

# What is not a claim about a result: in order, replaced by nothing.
IGNORED = [
    r"(?ms)^## References$.*?(?=^## |\Z)",
    r"(?m)^\*\*Time\*\*.*$",
    r"(?ms)^ *```.*?^ *```",
    r"`[^`\n]*`",
    r"(?<=\])\([^)\s]*\)",  # the address of a link
    r"<https?:[^>]*>",
    r"(?i)arxiv[:\s]*\d{4}\.\d{4,5}(?:v\d+)?",
    r"(?i)doi[:\s]*10\.\d{4,}/\S+",
    r"\bv?\d+\.\d+\.\d+(?:[.\w-]*\w)?",  # versions, and sections of handbooks
    r"(?i)\b(?:version|python|pytorch|torch|numpy|scipy|pyro|geoopt|jax|tensorflow|tfp|cuda)s? v?\d+\.\d+",
    r"(?i)\b(?:sections?|sec\.|§|equations?|eqs?\.|figures?|figs?\.|tables?|chapters?|theorems?|lemmas?|appendix|"
    r"exercises?|algorithms?|dlmf|pages?|lines?|issues?)[\s~§]*\(?[A-Z]?\d+(?:\.\d+)*\)?"
    r"(?:(?:,| and| to|,? or|-|–) ?\(?\d+(?:\.\d+)*\)?)*",
]
NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
POWER = r"(?:\s*(?:\\cdot|\\times|×|·)\s*10\^(?:\{(?P<braced>[-−]?\d+)\}|(?P<bare>\d)))?"
UNIT = r"(?:%|\\%|per ?cent\b|nats?\b|degrees?\b|points?\b|epochs?\b|seconds?\b|minutes?\b|hours?\b|times\b|-?fold\b)"
CLAIM = re.compile(
    rf"(?<![\w.^{{])(?P<number>{NUMBER}){POWER}(?P<unit>[\s$~-]*(?:\\[,;]\s*)?{UNIT})?(?![\d.]*\d)(?!\w)"
)
WRITTEN = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\d.]*\d)")
COMPUTED = "_"
EXERCISE = {"exercise", "stub", "hint", "solution"}


def unfounded(notebook: NotebookNode) -> list[str]:
    """Return the claims of an executed chapter that have no evidence, each with some words before it."""
    known = evidence(notebook.cells)
    missing = []
    for cell in notebook.cells:
        if EXERCISE.intersection(cell.metadata.get("tags", [])):
            continue
        for text in [cell.source] if cell.cell_type == "markdown" else captions(cell.source):
            missing += [words for words, values, digits in claims(text) if not occurs(values, digits, known)]
    return missing


def captions(code: str) -> Iterator[str]:
    """Yield what is typed in the captions and alt texts of a cell's figures, without what f-strings compute."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "show":
            for given in [*node.args, *(keyword.value for keyword in node.keywords)]:
                yield _typed(given)


def _typed(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_typed(value) for value in node.values)
    if isinstance(node, ast.BinOp):
        return _typed(node.left) + _typed(node.right)
    return COMPUTED


def claims(prose: str) -> Iterator[tuple[str, list[float], float]]:
    """Yield each claim of some prose: words, the values that would be evidence, and half a unit of its last digit."""
    for pattern in IGNORED:
        prose = re.sub(pattern, "", prose)
    for found in CLAIM.finditer(prose):
        number, unit = found["number"], found["unit"]
        if "." not in number and not unit:
            continue
        power = int((found["braced"] or found["bare"] or "0").replace("−", "-"))
        value = float(number.replace(",", "")) * 10.0**power
        half = 0.5 * 10.0 ** (power - len(number.partition(".")[2]))
        percent = unit and ("%" in unit or "cent" in unit)
        before = " ".join(prose[max(found.start() - 40, 0) : found.start()].split())
        yield f"{before} {found[0].strip()}".strip(), [value, value / 100] if percent else [value], half


def occurs(values: Sequence[float], half: float, known: Iterable[float]) -> bool:
    """Whether one of the known numbers is one of the values, to the digits with which the first is given."""
    margins = [half * value / values[0] if values[0] else half for value in values]
    return any(
        abs(other - value) <= margin * (1 + 1e-6)
        for other in known
        for value, margin in zip(values, margins, strict=True)
    )


def evidence(cells: Iterable[NotebookNode]) -> set[float]:
    """Return the numbers that code contains, prints or says."""
    numbers: set[float] = set()
    for cell in cells:
        if cell.cell_type != "code" or "setup" in cell.metadata.get("tags", []):
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
                numbers.add(abs(float(node.value)))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            caption = "text/markdown" in data and data["text/markdown"] != data.get("text/plain")
            figure = "image/svg+xml" in data
            text = output.get("text", "") if not data else "" if caption or figure else data.get("text/plain", "")
            numbers |= {float(written) for written in WRITTEN.findall(re.sub(r"(?<=\d),(?=\d{3})", "", text))}
    return numbers


def main(slugs: Sequence[str]) -> int:
    """Print the claims without evidence of the chapters named, or of all; the exit status is 1 if there are any."""
    paths = [notebooks.CHAPTERS / f"{slug}.ipynb" for slug in slugs]
    count = 0
    for path in paths or [source.with_suffix(".ipynb") for source in notebooks.sources()]:
        missing = unfounded(nbformat.read(Path(path), as_version=4))
        print(f"{path.stem}: {len(missing)}", *(f"  ...{words}" for words in missing), sep="\n")
        count += len(missing)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
