"""Tables in the formats that people use: text, Markdown, HTML, CSV, LaTeX and JSON."""

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from tabulate import tabulate

FORMATS = {"text": "txt", "markdown": "md", "html": "html", "csv": "csv", "latex": "tex", "json": "json"}

# What pdflatex does not take as it is; what else there is in a cell tabulate escapes.
_LATEX = str.maketrans({"±": r"$\pm$", "α": r"$\alpha$", "β": r"$\beta$", "²": "$^2$"})


class Rendering:
    """What a table can be turned into; `results.Table` has the data."""

    title: Any
    columns: Any
    rows: Any
    notes: Any
    label: Any
    model: Any
    detail: Any

    def render(self, format_: str) -> str:
        """Return the table in one of `FORMATS`."""
        return getattr(self, format_)()

    @property
    def headers(self) -> list[str]:
        """The headers of `cells`."""
        return [header for header in (self.label, self.model, self.detail) if header] + ["runs", *self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """The rows as people read them: numbers rounded, the model with whose figures they are."""
        return [
            [text for header, text in ((self.label, row.label), (True, row.name), (self.detail, row.detail)) if header]
            + ["" if row.runs is None else str(row.runs), *map(str, row.cells)]
            for row in self.rows
        ]

    def text(self) -> str:
        """Return the table for a terminal."""
        body = tabulate(self.cells, self.headers, tablefmt="simple", disable_numparse=True)
        return "\n".join([self.title, "", body, "", *(f"- {note}" for note in self.notes)])

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown: minus signs, exponents of spaces raised."""
        cells = [list(map(_signs, row)) for row in self.cells]
        body = tabulate(cells, map(_signs, self.headers), tablefmt="github", disable_numparse=True)
        notes = (f"- {_signs(note)}" for note in self.notes)
        return "\n".join([f"**{_signs(self.title)}**", "", body, "", *notes, ""])

    def html(self) -> str:
        """Return the table for a web page: figures of others in italics, signs as in Markdown, text escaped."""
        published = [row.is_published for row in self.rows]
        cells = [
            [f"<em>{_escaped(cell)}</em>" if other and cell else _escaped(cell) for cell in row]
            for row, other in zip(self.cells, published, strict=True)
        ]
        headers = [_escaped(header) for header in self.headers]
        body = tabulate(cells, headers, tablefmt="unsafehtml", disable_numparse=True)
        notes = "".join(f"<li>{_escaped(note)}</li>" for note in self.notes)
        return f"<p><strong>{_escaped(self.title)}</strong></p>\n{body}\n<ul>{notes}</ul>\n"

    def csv(self) -> str:
        """Return a line for each row, with mean and standard deviation of each column, not rounded."""
        fixed = [self.label or "label", self.model, self.detail or "detail", "source", "runs"]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fixed + [name for column in self.columns for name in (column, f"{column} sd")])
        for row in self.rows:
            numbers = [value for cell in row.cells for value in (cell.mean, cell.spread)]
            writer.writerow([row.label, row.model, row.detail, row.source, row.runs, *numbers])
        return file.getvalue()

    def latex(self) -> str:
        """Return a floating table for LaTeX with the package booktabs."""
        body = tabulate(self.cells, self.headers, tablefmt="latex_booktabs", disable_numparse=True)
        notes = "\n".join(rf"{_latex(note)}\par" for note in self.notes)
        body = re.sub(r"(?<![\w-])-(?=\d)", "$-$", body).translate(_LATEX)
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_latex(self.title)}}}",
                body,
                r"\par\footnotesize",
                notes,
                r"\end{table}",
                "",
            ]
        )

    def json(self) -> str:
        """Return all that the table holds, the names of the records with it."""
        content = {"title": self.title, "notes": list(self.notes), "rows": list(self._objects())}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    def _objects(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            cells = zip(self.columns, row.cells, strict=True)
            yield {
                **({self.label: row.label} if self.label else {}),
                "model": row.model,
                **({self.detail: row.detail} if self.detail else {}),
                "source": row.source,
                "runs": row.runs,
                "cells": {column: {"mean": cell.mean, "spread": cell.spread} for column, cell in cells},
                "records": list(row.records),
            }


def _escaped(text: str) -> str:
    return _signs(html.escape(text))


def _signs(text: str) -> str:
    """Return text with minus signs for hyphens before numbers, and the exponents of spaces raised: S^2, R^100."""
    text = re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", text)
    return re.sub(r"\b([RS])\^(\d+)", r"\1<sup>\2</sup>", text)


def _latex(text: str) -> str:
    escaped = re.sub(r"([#$%&_{}])", r"\\\1", text).replace("^", r"\^{}")
    return re.sub(r"[<>]", r"$\g<0>$", escaped).translate(_LATEX)
