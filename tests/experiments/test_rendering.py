"""A table in six formats: what is shown, what is escaped, and that no number is lost."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest

from hvae_tutorial.experiments.rendering import FORMATS
from hvae_tutorial.experiments.results import Cell, PValue, Row, Table

TABLE = Table(
    title="A title, with 5% & <tags>",
    label="d",
    columns=["LL", "R^2"],
    rows=[
        Row("2", "N-VAE", runs=2, cells=[Cell(-1.2345678, 0.25), Cell(90.0, None, 1)], records=["first", "second"]),
        Row("2", "N-VAE", "paper", cells=[Cell(-1.5, 0.1), Cell()]),
        Row("10", "S-VAE", "p", cells=[PValue(1e-9), PValue(None)]),
    ],
    notes=["β = 0.1 ± 0, S^2_3."],
)


class Cells(HTMLParser):
    """The text of the cells of a page's only table, row by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and "ul" not in self.tags:
            self.rows[-1][-1] += data.rstrip()


def test_text() -> None:
    assert TABLE.text().splitlines() == [
        "A title, with 5% & <tags>",
        "",
        "d    model         runs    LL            R^2",
        "---  ------------  ------  ------------  -----",
        "2    N-VAE         2       -1.23 ± 0.25  90.0",
        "2    N-VAE, paper          -1.50 ± 0.10",
        "10   p, S-VAE              < 0.0001      n/a",
        "",
        "- β = 0.1 ± 0, S^2_3.",
    ]


def test_markdown() -> None:
    assert TABLE.markdown().splitlines()[2:5] == [
        "| d   | model        | runs   | LL           | R<sup>2</sup>   |",
        "|-----|--------------|--------|--------------|-----------------|",
        "| 2   | N-VAE        | 2      | \N{MINUS SIGN}1.23 ± 0.25 | 90.0            |",
    ]


def test_html_escapes_and_sets_others_figures_in_italics() -> None:
    page = TABLE.html()
    assert "<strong>A title, with 5% &amp; &lt;tags&gt;</strong>" in page
    cells = Cells(page)
    assert cells.rows == [
        ["d", "model", "runs", "LL", "R2"],
        ["2", "N-VAE", "2", "\N{MINUS SIGN}1.23 ± 0.25", "90.0"],
        ["2", "N-VAE, paper", "", "\N{MINUS SIGN}1.50 ± 0.10", ""],
        ["10", "p, S-VAE", "", "< 0.0001", "n/a"],
    ]
    assert "<th>R<sup>2</sup>" in page
    assert cells.tags.count("em") == 3  # the filled cells of the paper's row
    assert "<em>N-VAE, paper</em>" in page
    assert "&lt; 0.0001" in page  # a browser would forgive it, other readers of HTML do not


def test_csv_has_means_and_deviations_that_are_not_rounded() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert rows[0] == {
        "d": "2",
        "model": "N-VAE",
        "detail": "",
        "source": "ours",
        "runs": "2",
        "LL": "-1.2345678",
        "LL sd": "0.25",
        "R^2": "90.0",
        "R^2 sd": "",
    }
    assert (rows[1]["source"], rows[1]["runs"], rows[1]["R^2"]) == ("paper", "", "")
    assert (rows[2]["source"], float(rows[2]["LL"]), rows[2]["R^2"]) == ("p", 1e-9, "")


def test_json_has_all_that_the_table_holds() -> None:
    content = json.loads(TABLE.json())
    assert content["title"] == TABLE.title
    assert content["notes"] == TABLE.notes
    assert content["rows"][0] == {
        "d": "2",
        "model": "N-VAE",
        "source": "ours",
        "runs": 2,
        "cells": {"LL": {"mean": -1.2345678, "spread": 0.25}, "R^2": {"mean": 90.0, "spread": None}},
        "records": ["first", "second"],
    }
    assert content["rows"][2]["cells"]["R^2"] == {"mean": None, "spread": None}


def test_latex_escapes_what_latex_would_not_take() -> None:
    text = TABLE.latex()
    assert text.isascii()
    assert r"\caption{A title, with 5\% \& $<$tags$>$}" in text
    assert r"$-$1.23 $\pm$ 0.25" in text
    assert r"\ensuremath{<} 0.0001" in text
    assert r"$\beta$ = 0.1 $\pm$ 0, S\^{}2\_3.\par" in text
    assert r"R\^{}2" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {4}
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_has_every_row(format_: str) -> None:
    text = TABLE.render(format_)
    assert text.count("N-VAE") >= 2
    assert "S-VAE" in text
