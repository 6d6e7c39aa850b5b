"""A compact picture is the picture that it was made from: every point within a tenth, no name shared with another."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from hvae_tutorial import _svg

SVG = "{http://www.w3.org/2000/svg}"


def picture(body: str) -> str:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<?xml version="1.0"?>\n<svg {names} width="10pt" height="10pt" viewBox="0 0 10 10">{body}</svg>'


def compact(body: str) -> str:
    return _svg.compact(picture(body), alt="A picture", size=(100, 50))


def points(path: str) -> list[tuple[float, float]]:
    """The ends of the pieces of a path of relative and absolute M, L, Q, C, Z."""
    at, start, found = np.zeros(2), np.zeros(2), []
    for command, numbers in re.findall(r"([MLQCZmlqcz])([^MLQCZmlqcz]*)", path):
        pairs = np.array(re.findall(r"-?(?:\d+\.?\d*|\.\d+)", numbers), float).reshape(-1, 2)
        step = {"m": 1, "l": 1, "q": 2, "c": 3, "z": 1}[command.lower()]
        for i in range(0, max(len(pairs), 1), step):
            if command in "Zz":
                at = start
            else:
                end = pairs[i + step - 1]
                at = end if command.isupper() else at + end
            start = at if command in "Mm" else start
            found.append((round(float(at[0]), 3), round(float(at[1]), 3)))
    return found


def test_no_point_moves_by_more_than_half_a_tenth_however_long_the_path() -> None:
    walk = np.random.default_rng(0).normal(scale=3, size=(2000, 2)).cumsum(axis=0)
    path = "M " + " \nL ".join(f"{x:.6f} {y:.6f}" for x, y in walk)
    found = re.search(r' d="([^"]+)"', compact(f'<path d="{path}"/>'))
    assert found is not None
    kept = np.array(points(found[1]))
    distances = np.abs(walk[:, None] - kept[None]).max(-1).min(1)
    assert (distances < 0.051).mean() > 0.99  # of the others none is far from a straight line
    assert len(found[1]) < len(path) / 2


def test_curves_keep_their_ends_and_closed_paths_are_closed() -> None:
    path = "M 1 1 \nC 2 1 3 2 3 3 \nQ 4 4 5 3 \nL 6 6 \nz \nM 8 8 \nL 9 8 "
    found = re.search(r' d="([^"]+)"', compact(f'<path d="{path}"/>'))
    assert found is not None
    assert points(found[1]) == [(1, 1), (3, 3), (5, 3), (6, 6), (1, 1), (8, 8), (9, 8)]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("M 0 0 L 1 1 L 2 2 L 3 3", [(0, 0), (3, 3)]),
        ("M 0 0 L 0.01 0.01 L 1 0", [(0, 0), (1, 0)]),  # closer than the grid
        ("M 0 0 L 2 0 L 1 0", [(0, 0), (2, 0), (1, 0)]),  # there and back
        ("M 0 0 L 1 0 L 1 1", [(0, 0), (1, 0), (1, 1)]),
    ],
)
def test_points_on_a_straight_way_are_left_out(path: str, kept: list) -> None:
    found = re.search(r' d="([^"]+)"', compact(f'<path d="{path}"/>'))
    assert found is not None
    assert points(found[1]) == kept


def test_marks_have_their_style_once_for_each_colour() -> None:
    shape = '<g><defs><path id="m1" d="M 0 0 L 1.234 0" style="stroke: #ff0000"/></defs>'
    uses = "".join(
        f'<g clip-path="url(#c)"><use xlink:href="#m1" x="{i}.04" y="2" style="fill: {colour}; stroke: #ff0000"/></g>'
        for i, colour in enumerate(["#00ff00", "#0000ff", "#00ff00"])
    )
    made = compact(f'{shape}{uses}</g><clipPath id="c"><rect width="5.55" height="5"/></clipPath>')
    root = ElementTree.fromstring(made)
    marks = {element.get("id"): element for element in root.iter(f"{SVG}path")}
    assert len(marks) == 2
    drawn = [marks[use.attrib["href"][1:]].attrib["style"] for use in root.iter(f"{SVG}use")]
    assert [re.findall("fill:(#.*)", style)[0] for style in drawn] == ["#00ff00", "#0000ff", "#00ff00"]
    assert all("stroke:#ff0000" in style for style in drawn)
    assert {mark.attrib["d"] for mark in marks.values()} == {"M0 0l1.23 0"}
    assert made.count("<g clip-path=") == 1  # neighbours are joined


def test_names_belong_to_one_picture_and_nothing_else_is_named() -> None:
    def clipped(height: int) -> str:
        clip = f'<clipPath id="c"><rect width="5" height="{height}"/></clipPath>'
        return compact(f'{clip}<g id="figure_1"><path id="x" clip-path="url(#c)" d="M 0 0 L 1 1"/></g>')

    first, second = clipped(1), clipped(2)
    names = [re.findall(r'\bid="([^"]+)"', made) for made in (first, second)]
    assert [len(found) for found in names] == [1, 1]
    assert names[0] != names[1]
    assert f"url(#{names[0][0]})" in first
    assert clipped(1) == first


def test_no_style_sheet_leaks_and_words_are_kept() -> None:
    word = """<text style="font-size: 10px; font-family: 'DejaVu Sans', 'Arial'; text-anchor: middle" x="1" y="2"
        transform="rotate(-0 1 2)">a &lt; b</text>"""
    letter = '<tspan x="0.06" style="font-style: oblique">z</tspan>'
    turned = f'<text transform="translate(1.23456 2) rotate(-90)">\n {letter}</text>'
    made = compact(f"<metadata><x/></metadata><defs><style>*{{stroke: red}}</style></defs>{word}{turned}")
    assert "<style" not in made
    assert "metadata" not in made
    assert '<text x="1" y="2" style="font-size:10px;text-anchor:middle">a &lt; b</text>' in made
    assert (
        'transform="translate(1.235 2) rotate(-90)"><tspan x=".1" style="font-style:oblique">z</tspan></text>' in made
    )
    assert 'aria-label="A picture"' in made
    assert "\n" not in made
