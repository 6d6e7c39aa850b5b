"""Figures in a page: SVG whose colours follow the page, light or dark, and which a phone can show.

Black, white and greys become the page's ink and ground. Other colours stay as they are in the light, and in the dark
are what `dark` says: the house's colours a little lighter, a colour map as its key.
"""

import base64
import io
import math
import re

import numpy as np
from PIL import Image

from hvae_tutorial.plotting import CLASS_COLOURS, CURVE_COLOURS

HOUSE = {colour.lower() for colour in (*CLASS_COLOURS, *CURVE_COLOURS)}
LIFT = (0.9, 0.28)  # factor and summand of a colour's channels, as the filter in docs/stylesheets/extra.css has them
COLOUR = re.compile(r"\b(fill|stroke):(#[0-9a-f]{6})\b")
RASTER = re.compile(r'<image (?=[^>]*href="data:image/png;base64,([^"]+)")')
LEGIBLE = 9  # pixels: how high letters are on a phone, at the least
PHONE = 380  # pixels that a phone has for a figure


def drawing(svg: str) -> str:
    """Return a figure as HTML for a page with `stylesheet`.

    Args:
        svg: as `plotting.show` makes it.
    """
    need = least_width(svg)
    scrolls = ' tabindex="0" role="group" aria-label="Wide figure"' if need > PHONE else ""
    svg = followed(svg)
    if scrolls:
        svg = svg.replace("<svg ", f'<svg style="min-width:{need}px" ', 1)
    return f'<div class="drawing" markdown="0" data-search-exclude{scrolls}>{svg}</div>'


def least_width(svg: str) -> int:
    """Return the width in pixels from which on the smallest words are legible."""
    (units,) = re.findall(r'viewBox="0 0 ([\d.]+) ', svg)
    words = re.findall(r"<text[^>]*font-size:([\d.]+)px", svg)
    return math.ceil(float(units) * LEGIBLE / min(map(float, words), default=LEGIBLE))


def followed(svg: str) -> str:
    """Return the picture with the page's colours in place of its own."""
    treatment = rasters(svg)

    def follow(found: re.Match[str]) -> str:
        name, colour = found.groups()
        if colour == "#ffffff":
            return f"{name}:var(--md-default-bg-color)"
        if colour == "#000000":
            return f"{name}:currentColor"
        kind = "grey" if _is_grey(colour) else "lift" if colour in HOUSE else treatment
        return f"{name}:var(--{kind}-{colour[1:]},{colour})" if kind else found[0]

    svg = COLOUR.sub(follow, svg)
    return svg.replace("<image ", f'<image class="{treatment}" ') if treatment else svg


def rasters(svg: str) -> str:
    """Return what becomes in the dark of colours that are not the house's: "lift", "flip" or, if they stay, "".

    They are lifted like the others unless the figure has areas of colour. If the lightest of these is white, it is the
    paper that shows through, and all are flipped: light becomes dark. Else they are a colour map, and stay. Lines and
    marks without such areas are flipped if the lightest is nearly white: then they have the colours of such a map.
    """
    opaque = []
    for encoded in RASTER.findall(svg):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA")) / 255
        if (pixels[..., 3] > 0.5).mean() > 0.6:
            opaque.append(pixels[pixels[..., 3] > 0.5][:, :3].min(axis=1).max())
    if not opaque:
        colours = {colour for _, colour in COLOUR.findall(svg)} - HOUSE
        return "flip" if any(min(_channels(c)) > 0.8 and not _is_grey(c) for c in colours) else "lift"
    return "flip" if max(opaque) > 0.9 else ""


def stylesheet(page: str) -> str:
    """Return the colours that the figures of a page take in the dark, as an element `style`."""
    names = sorted(set(re.findall(r"var\(--((?:grey|lift|flip)-[0-9a-f]{6}),", page)))
    rules = "".join(f"--{name}:{dark(*name.split('-'))};" for name in names)
    return f'<style>@media screen{{[data-md-color-scheme="slate"]{{{rules}}}}}</style>' if rules else ""


def dark(kind: str, colour: str) -> str:
    """Return a colour as it is in the dark.

    Args:
        kind: "grey", between the page's ink and its ground; "lift", somewhat lighter; "flip", dark for light.
        colour: six hexadecimal digits.
    """
    channels = _channels(f"#{colour}")
    if kind == "grey":
        ink = round(100 * (1 - channels[0]))
        return f"color-mix(in srgb,var(--md-default-fg-color) {ink}%,var(--md-default-bg-color))"
    if kind == "lift":
        factor, summand = LIFT
        channels = [factor * channel + summand for channel in channels]
    else:  # what the filter invert(0.92) hue-rotate(180deg) does: white becomes the ground, as nearly as a filter can
        luma = np.dot((0.213, 0.715, 0.072), channels)
        channels = [0.92 + 0.84 * (channel - 2 * luma) for channel in channels]
    return "#" + "".join(f"{round(255 * min(max(channel, 0), 1)):02x}" for channel in channels)


def _is_grey(colour: str) -> bool:
    channels = _channels(colour)
    return max(channels) - min(channels) < 0.02


def _channels(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
