"""From an executed notebook to a page: Markdown for the site, with the figures in it.

A plain converter, which knows nothing of the program that makes the site but for the Markdown it takes: HTML with
`markdown="1"` in it, and attributes in braces.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

import drawings
import times
from nbformat import NotebookNode

CHAPTER_LINK = re.compile(r"\]\((?:\./)?(\d\d_\w+)\.ipynb((?:#[^)\s]*)?)\)")
FENCE = re.compile(r"^ *(```+|~~~+)")
SOLUTION = '<details class="solution" markdown="1">\n<summary>Solution</summary>'
LIST_ITEM = re.compile(r"^( *)([-*+]|\d+\.) +\S")


class PageError(ValueError):
    """A notebook that no page can be made of."""


@dataclass(frozen=True)
class Downloads:
    """What a reader can take away; the addresses are relative to the page."""

    notebook: str
    source: str
    wheel: str
    repository: str = ""  # address of the repository, or nothing
    student: str = ""  # the notebook with open exercises, or nothing


def chapter_page(notebook: NotebookNode, slug: str, downloads: Downloads) -> str:
    """Return the page of a chapter, in Markdown.

    Args:
        notebook: executed.
        slug: `03_bessel`; the name of the page.
        downloads: what the buttons below the title lead to.
    """
    parts: list[str] = []
    solving = False
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "setup" in tags:
            continue
        if ("solution" in tags) != solving:
            solving = not solving
            parts.append(SOLUTION if solving else "</details>")
        if cell.cell_type == "markdown":
            parts.append(prose(cell.source))
        elif "picture" in tags or "words" in tags:
            parts += _outputs(cell.outputs, slug)
            parts.append(folded(f"Code of the {'figure' if 'picture' in tags else 'numbers'}", code(cell.source)))
        elif "checks" in tags:
            summary = f'<span class="checked">{html.escape(_checked(cell, slug), quote=False)}</span> Code of the check'
            parts.append(folded(summary, code(cell.source)))
        elif cell.cell_type == "code":
            parts.append(code(cell.source))
            parts += _outputs(cell.outputs, slug)
    if not parts or not parts[0].startswith("# "):
        raise PageError(f"{slug} does not begin with a title")
    heading, _, rest = parts[0].partition("\n")
    parts[0] = "\n\n".join(
        [heading, header(slug, times.of_notebook(notebook), downloads), times.LINE.sub("", rest).strip()]
    )
    parts.append(drawings.stylesheet("".join(parts)))
    return "\n\n".join(part for part in parts if part) + "\n"


def title(notebook: NotebookNode) -> str:
    """Return the first heading."""
    return _first_cell(notebook).partition("\n")[0].removeprefix("# ")


def question(notebook: NotebookNode) -> str:
    """Return the question that a chapter begins with, or nothing."""
    found = re.search(r"^\*([^*].*?)\*$", _first_cell(notebook), flags=re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def header(slug: str, time: times.Times, downloads: Downloads) -> str:
    """Return what stands below the title: number, times, and buttons."""
    facts = [
        f"Chapter {int(slug[:2])}",
        f"reading {time.reading} min" if time.reading else "",
        f"exercises {time.exercises} min" if time.exercises else "",
        f"running {time.running}" if time.seconds else "",
    ]
    colab = colab_address(downloads.repository, slug)
    buttons = [
        f"[Notebook]({downloads.notebook}){{ download='' }}",
        f"[Python]({downloads.source}){{ download='' }}",
    ]
    if colab:
        buttons.insert(0, f"[Open in Colab]({colab})")
    else:
        buttons.append(f"[Library]({downloads.wheel}){{ download='' }}")
    if downloads.student:
        buttons.append(f"[Without solutions]({downloads.student}){{ download='' }}")
    if downloads.repository:
        buttons.append(f"[Source]({downloads.repository}/blob/main/chapters/{slug}.py)")
    lines = [
        '<div class="chapter" markdown="1">',
        f'<p class="facts">{" · ".join(filter(None, facts))}</p>',
        f'<p class="buttons" markdown="span">{" ".join(buttons)}</p>',
        "</div>",
    ]
    if not colab:
        wheel = downloads.wheel.rpartition("/")[2]
        lines += [
            "",
            '<details class="colab" markdown="1">',
            "<summary>How to run this chapter in Colab</summary>",
            "",
            "1. Take *Notebook* and *Library* above. At <https://colab.research.google.com>, *File*, *Upload notebook*:"
            f" `{slug}.ipynb`.",
            f"2. Open the folder at the left edge, drop `{wheel}` into it, then *Runtime*, *Run all*.",
            "",
            "</details>",
        ]
    return "\n".join(lines)


def colab_address(repository: str, slug: str) -> str:
    """Return where Colab opens a chapter of a repository on GitHub; nothing if it is not there."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", repository)
    return f"https://colab.research.google.com/github/{found[1]}/blob/main/chapters/{slug}.ipynb" if found else ""


def prose(source: str) -> str:
    """Return Markdown as the site takes it: links to pages, and lists that Python-Markdown reads as Jupyter does.

    Python-Markdown wants a blank line before a list, and four spaces before a list within a list.
    """
    lines: list[str] = []
    fence = ""
    indents: list[int] = []  # of the lists that are open
    for line in source.strip().splitlines():
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and line.strip() == fence:
            fence = ""
        elif not fence:
            line = CHAPTER_LINK.sub(r"](\1.md\2)", line)
            item = LIST_ITEM.match(line)
            if item:
                before = lines[-1] if lines else ""
                if not indents and before.strip():
                    lines.append("")
                while indents and indents[-1] > len(item[1]):
                    indents.pop()
                if not indents or indents[-1] < len(item[1]):
                    indents.append(len(item[1]))
                line = "    " * (len(indents) - 1) + line.lstrip()
            elif line.strip() and not line.startswith(" "):
                indents = [] if not lines or not lines[-1].strip() else indents
        lines.append(line)
    return "\n".join(lines)


def code(source: str, language: str = "python") -> str:
    """Return a fenced block."""
    longest = max((len(run) for run in re.findall("`{3,}", source)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{source.strip()}\n{fence}" if source.strip() else ""


def folded(summary: str, text: str) -> str:
    """Return Markdown that is hidden until the reader opens it.

    Args:
        summary: what is to be seen of it, in HTML.
        text: what is folded.
    """
    return f'<details class="code" markdown="1">\n<summary markdown="0">{summary}</summary>\n\n{text}\n\n</details>'


def text_output(text: str) -> str:
    """Return what a cell printed, as a block of its own style; the site neither colours nor interprets it."""
    return f'<div class="output"><pre>{html.escape(text.rstrip(), quote=False)}</pre></div>'


def figure(svg: str, caption: str) -> str:
    """Return a picture with its caption, which is Markdown."""
    return (
        f'<figure markdown="1">\n'
        f"{drawings.drawing(svg)}\n"
        f'<figcaption markdown="span">{" ".join(prose(caption).split())}</figcaption>\n'
        f"</figure>"
    )


def _first_cell(notebook: NotebookNode) -> str:
    return next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _checked(cell: NotebookNode, slug: str) -> str:
    """Return the one line that a cell of checks has printed."""
    printed = "".join(output.get("text", "") for output in cell.outputs).strip()
    if len(cell.outputs) != 1 or not printed.startswith("Checked: ") or "\n" in printed:
        raise PageError(f"{slug}: a cell of checks prints one line, 'Checked: ...', not {printed!r}")
    return printed


def _outputs(outputs: list[NotebookNode], slug: str) -> Iterator[str]:
    """Yield the parts that a cell's outputs make."""
    caption_at = -1
    for position, output in enumerate(outputs):
        if position == caption_at:
            continue
        data = output.get("data", {})
        if output.output_type == "error":
            raise PageError(f"{slug}: a cell has failed with {output.ename}")
        if output.output_type == "stream":
            if output.name == "stdout" and output.text.strip():
                yield text_output(output.text)
        elif "image/svg+xml" in data:
            if not output.metadata.get("image/svg+xml", {}).get("alt"):
                raise PageError(f"{slug}: a figure has no alt text")
            after = outputs[position + 1].get("data", {}) if position + 1 < len(outputs) else {}
            if "text/markdown" in after:
                caption_at = position + 1
            yield figure(data["image/svg+xml"], after.get("text/markdown", ""))
        elif "text/markdown" in data:
            yield prose(data["text/markdown"])
        elif "text/plain" in data:
            yield text_output(data["text/plain"])
