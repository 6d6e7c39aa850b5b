"""In the dark a figure's colours can be told from the ground, and what is one colour in the figure stays one."""

import base64
import io
import re

import drawings
import nbformat
import notebooks
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from hvae_tutorial.plotting import CLASS_COLOURS, CURVE_COLOURS

STYLES = (notebooks.ROOT / "docs" / "stylesheets" / "extra.css").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(one: str, other: str) -> float:
    """As WCAG 2.1 defines it."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def raster(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * pixels).astype(np.uint8)).save(buffer, format="PNG")
    return f'<image href="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"/>'


def svg(body: str, width: float = 504, font: float = 10) -> str:
    return f'<svg viewBox="0 0 {width} 200" width="700">{body}<text style="font-size:{font}px">a</text></svg>'


RAMP = np.linspace(0, 1, 64)[None].repeat(8, axis=0)
MARKS = np.zeros((20, 20, 4))
MARKS[3:6, 3:6] = (0, 0.4, 0.7, 1)


def test_colours_of_the_house_stand_out_in_the_dark() -> None:
    ground = re.findall(r"--md-default-bg-color: (#[0-9a-f]{6});", STYLES)
    assert len(ground) == 1
    dark = [drawings.dark("lift", colour[1:].lower()) for colour in (*CLASS_COLOURS, *CURVE_COLOURS)]
    assert min(contrast(colour, ground[0]) for colour in dark) > 3
    assert len(set(dark)) == 16


def ground_and_ink() -> dict[str, tuple[str, str]]:
    """The page's two colours, in the light and in the dark."""
    inks = re.findall(r"--md-default-fg-color: (#[0-9a-f]{6});", STYLES)
    (dark,) = re.findall(r"--md-default-bg-color: (#[0-9a-f]{6});", STYLES)
    return {"light": ("#ffffff", inks[0]), "dark": (dark, inks[1])}


def shown(kind: str, colour: str, scheme: str) -> str:
    """A colour of a figure as a page shows it."""
    ground, ink = ground_and_ink()[scheme]
    if scheme == "light" or not kind:
        return colour
    if kind != "grey":
        return drawings.dark(kind, colour[1:])
    (percent,) = re.findall(r"default-fg-color\) (\d+)%", drawings.dark(kind, colour[1:]))
    share = int(percent) / 100
    channels = [[int(c[at : at + 2], 16) for c in (ink, ground)] for at in (1, 3, 5)]
    return "#" + "".join(f"{round(share * of_ink + (1 - share) * of_ground):02x}" for of_ink, of_ground in channels)


def figures() -> list[tuple[str, str]]:
    """All figures of the course, as stored, with the first words of their captions."""
    found = []
    for path in sorted((notebooks.ROOT / "chapters").glob("[01]*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if picture := output.get("data", {}).get("image/svg+xml"):
                    name = re.findall(r"\*\*(Figure \d+\.\d+)\.\*\*", str(cell.outputs))
                    found.append((name[0], picture))
    return found


def test_words_of_figures_stand_out_in_both_schemes() -> None:
    """Words in the colour of the ground are meant for areas of colour."""
    pictures, words, pale = figures(), 0, []
    for name, picture in pictures:
        for style, word in re.findall(r"<text([^>]*)>([^<]+)", drawings.followed(picture)):
            fill = re.search(r"fill:(?:var\(--(grey|lift|flip)-[0-9a-f]{6},)?(#[0-9a-f]{6})", style.replace(" ", ""))
            words += 1
            for scheme, (ground, _) in ground_and_ink().items():
                if fill and contrast(shown(fill[1] or "", fill[2], scheme), ground) < 3:
                    pale.append((name, word, fill[2], scheme))
    assert len(pictures) > 60
    assert words > 1500
    assert not pale


def test_the_style_sheet_lifts_pictures_as_the_colours_are_lifted() -> None:
    """invert(a) makes 1 - a of 1 and a of 0, and brightness multiplies."""
    invert, brightness = map(float, re.findall(r"filter: invert\((0\.\d+)\) brightness\(([\d.]+)\)", STYLES)[0])
    assert ((1 - 2 * invert) * brightness, invert * brightness) == pytest.approx(drawings.LIFT, abs=2e-3)
    assert "filter: invert(0.92) hue-rotate(180deg)" in STYLES
    assert drawings.dark("flip", "ffffff") == drawings.dark("flip", "FFFFFF".lower()) == "#141414"
    assert drawings.dark("flip", "000000") == "#ebebeb"


def test_ink_ground_and_greys_are_the_pages() -> None:
    made = drawings.followed(svg('<path style="fill:#ffffff;stroke:#000000"/><path style="stroke:#999999"/>'))
    assert "fill:var(--md-default-bg-color);stroke:currentColor" in made
    assert "stroke:var(--grey-999999,#999999)" in made
    assert "--grey-999999:color-mix(in srgb,var(--md-default-fg-color) 40%,var(--md-default-bg-color));" in (
        drawings.stylesheet(made)
    )


@pytest.mark.parametrize(
    ("pictures", "treatment"),
    [
        ([], "lift"),
        ([MARKS], "lift"),
        ([colormaps["viridis"](RAMP)], ""),
        ([colormaps["cividis"](RAMP), MARKS], ""),
        ([colormaps["Blues"](RAMP)], "flip"),
        ([colormaps["gray_r"](RAMP), colormaps["gray_r"](RAMP / 3)], "flip"),
    ],
)
def test_other_colours_are_treated_like_the_areas_of_the_figure(pictures: list, treatment: str) -> None:
    """A mark coloured by a map has the colour of the map's key, before and after."""
    body = '<path style="fill:#123456"/><path style="fill:#0072b2"/>' + "".join(map(raster, pictures))
    made = drawings.followed(svg(body))
    assert made.count("<image") == len(pictures)
    assert made.count(f'class="{treatment}"' if treatment else "class=") == (len(pictures) if treatment else 0)
    assert (f"var(--{treatment}-123456,#123456)" if treatment else "fill:#123456") in made
    assert "var(--lift-0072b2,#0072b2)" in made


def test_marks_in_the_colours_of_a_map_that_begins_with_white_are_flipped() -> None:
    """Dots from pale blue to dark blue: in the dark the pale ones go down with the ground, and do not shine."""
    dots = '<path style="fill:#e1edf8"/><path style="fill:#08306b"/><path style="fill:#eeeeee"/>'
    made = drawings.followed(svg(dots))
    assert "fill:var(--flip-e1edf8,#e1edf8)" in made
    assert "fill:var(--grey-eeeeee,#eeeeee)" in made
    assert luminance(drawings.dark("flip", "e1edf8")) < 0.05 < luminance(drawings.dark("flip", "08306b"))
    assert drawings.rasters(svg(dots.replace("#e1edf8", "#08306b"))) == "lift"


def test_a_page_without_figures_has_no_styles() -> None:
    assert drawings.stylesheet("<p>#0072b2</p>") == ""


@pytest.mark.parametrize(("width", "font", "need"), [(504, 10, 454), (360, 10, 324), (360, 8, 405)])
def test_figures_that_a_phone_makes_illegible_scroll_and_can_be_reached_by_keyboard(
    width: float, font: float, need: int
) -> None:
    assert drawings.least_width(svg("", width, font)) == need
    made = drawings.drawing(svg("", width, font))
    assert (f'<svg style="min-width:{need}px"' in made) == (' tabindex="0"' in made) == (need > drawings.PHONE)
