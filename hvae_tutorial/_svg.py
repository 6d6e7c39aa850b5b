"""An SVG file of matplotlib in a tenth of its bytes, and safe to stand in a page beside others.

Coordinates are rounded to a tenth of a point, paths become relative and lose points on straight lines, markers carry
their style once, names that nothing refers to go, and the others begin with letters that belong to the picture alone.
"""

import hashlib
import re
from collections.abc import Iterator
from itertools import groupby, pairwise
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e[-+]?\d+)?")
_PATH = re.compile(rf"([MLQCZz])|({_NUMBER.pattern})")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FONTS = "DejaVu Sans,Verdana,Arial,sans-serif"
# How finely coordinates are kept, in units a point: those of marks, which are small and repeated, more so.
_FINE, _FINER = 10, 100


def compact(svg: str, *, alt: str, size: tuple[float, float]) -> str:
    """Return the picture on one line, without a prologue.

    Args:
        svg: as matplotlib saves it, with text as text.
        alt: what the picture is called by who reads pages aloud.
        size: width and height, in pixels.
    """
    root = ElementTree.fromstring(svg)
    _strip(root)
    _name_markers(root)
    for element in root.iter():
        _shorten(element, _FINER if element.get("id") else _FINE)
    _flatten(root)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    width, height = (f"{length:g}" for length in size)
    attributes = {"width": width, "height": height, "role": "img", "aria-label": alt}
    # What matplotlib puts into a style sheet, which would hold for the whole page.
    attributes |= {"font-family": _FONTS, "stroke-linejoin": "round"}
    root.attrib.update(attributes)
    ElementTree.register_namespace("", _SVG)
    return _renamed(ElementTree.tostring(root, encoding="unicode"))


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _strip(parent: Element) -> None:
    """Remove what is not drawn: metadata, the style sheet, the white space of the file."""
    for child in list(parent):
        if _tag(child) in {"metadata", "style"}:
            parent.remove(child)
        else:
            _strip(child)
    if len(parent) or _tag(parent) not in {"text", "tspan"}:
        parent.text = None
    for child in parent:
        child.tail = None
    if _HREF in parent.attrib:
        parent.set("href", parent.attrib.pop(_HREF))


def _name_markers(root: Element) -> None:
    """Put the style of repeated marks where they are defined, once for each style."""
    repeated = {use.attrib["href"].removeprefix("#") for use in root.iter(f"{{{_SVG}}}use")}
    shapes = {element.get("id"): element for element in root.iter() if element.get("id") in repeated}
    drawn: dict[tuple[str, str], str] = {}
    definitions = Element(f"{{{_SVG}}}defs")
    for use in root.iter(f"{{{_SVG}}}use"):
        shape, style = use.attrib["href"].removeprefix("#"), use.attrib.pop("style", "")
        if (shape, style) not in drawn:
            drawn[shape, style] = f"mark{len(drawn)}"
            own = shapes[shape].get("style", "")
            attributes = {"id": drawn[shape, style], "d": shapes[shape].attrib["d"], "style": f"{own}; {style}"}
            definitions.append(Element(f"{{{_SVG}}}path", attributes))
        use.set("href", f"#{drawn[shape, style]}")
    for element in root.iter():
        for child in list(element):
            if child.get("id") in repeated:
                element.remove(child)
    root.insert(0, definitions)


def _shorten(element: Element, fineness: int) -> None:
    """Round the numbers of an element, and leave out what is said by default."""
    if "d" in element.attrib:
        element.set("d", _path(element.attrib["d"], fineness))
    for name in ("x", "y", "width", "height"):
        if name in element.attrib:
            element.set(name, _NUMBER.sub(_rounded, element.attrib[name]))
    transform = element.get("transform", "")
    if transform.startswith("rotate(-0 ") or transform.startswith("rotate(0 "):
        del element.attrib["transform"]
    elif transform and _tag(element) != "image":
        element.set("transform", _NUMBER.sub(lambda found: f"{round(float(found[0]), 3):g}", transform))
    if "style" in element.attrib:
        style = _style(element.attrib.pop("style"))
        if style:
            element.set("style", style)


def _rounded(found: re.Match[str]) -> str:
    return _decimal(round(float(found[0]) * _FINE), _FINE)


def _style(text: str) -> str:
    """Return a style without white space, repetition, or the fonts that the whole picture has."""
    values: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, value = part.partition(":")
        values[name] = value.strip()
    if values.get("font-family", "").startswith("'DejaVu Sans'") and "Display" not in values["font-family"][:22]:
        del values["font-family"]
    values = {name: value for name, value in values.items() if (name, value) != ("text-anchor", "start")}
    return ";".join(f"{name}:{value}" for name, value in values.items())


def _path(data: str, fineness: int) -> str:
    """Return a path with relative, rounded coordinates and without needless points."""
    written = []
    at, start = (0, 0), (0, 0)
    for command, group in groupby(_segments(data, fineness), key=lambda segment: segment[0]):
        segments = [points for _, points in group]
        if command == "M":
            at = start = segments[-1][0]
            written.append("M" + _join(at, fineness))
        elif command == "L":
            corners = list(_corners([at, *(points[0] for points in segments)]))
            steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(corners)]
            written.append("l" + _join([value for step in steps for value in step], fineness))
            at = corners[-1]
        elif command == "Z":
            written.append("z")
            at = start
        else:
            numbers = []
            for points in segments:
                numbers += [value for point in points for value in (point[0] - at[0], point[1] - at[1])]
                at = points[-1]
            written.append(command.lower() + _join(numbers, fineness))
    return "".join(written)


def _segments(data: str, fineness: int) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yield the commands of a path, each with its points on the grid."""
    lengths = {"M": 1, "L": 1, "Q": 2, "C": 3, "Z": 0}
    command = ""
    numbers: list[int] = []
    for letter, number in _PATH.findall(data):
        if letter:
            command, numbers = letter.upper(), []
        else:
            numbers.append(round(float(number) * fineness))
        if len(numbers) == 2 * lengths[command]:
            yield command, list(zip(numbers[::2], numbers[1::2], strict=True))
            numbers = []


def _corners(points: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the points of a line without those between two others on one straight way."""
    kept = [points[0]]
    for point in points[1:]:
        if len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2:]
            before, after = (bx - ax, by - ay), (point[0] - bx, point[1] - by)
            straight = before[0] * after[1] == before[1] * after[0]
            if straight and before[0] * after[0] + before[1] * after[1] >= 0:
                kept.pop()
        kept.append(point)
    yield from kept


def _join(numbers: tuple[int, ...] | list[int], fineness: int) -> str:
    """Write numbers with as few characters between them as a path needs."""
    text = ""
    for number in numbers:
        decimal = _decimal(number, fineness)
        text += decimal if not text or decimal.startswith("-") else f" {decimal}"
    return text


def _decimal(number: int, fineness: int) -> str:
    text = f"{number / fineness:.2f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0(?=\.)", r"\1", text)


def _flatten(parent: Element) -> None:
    """Unwrap groups that say nothing, and join neighbours that say the same."""
    children: list[Element] = []
    for child in parent:
        _flatten(child)
        if _tag(child) == "g":
            child.attrib.pop("id", None)
            if not child.attrib:
                children += list(child)
                continue
            if children and _tag(children[-1]) == "g" and children[-1].attrib == child.attrib:
                children[-1].extend(list(child))
                continue
        if len(child) or child.attrib or child.text:
            children.append(child)
    parent[:] = children


def _renamed(svg: str) -> str:
    """Give every name that is referred to a prefix made from the picture, and remove the others."""
    used = dict.fromkeys(_REFERENCE.findall(svg) + re.findall(r' href="#([^"]+)"', svg))
    own = "f" + hashlib.sha256(svg.encode()).hexdigest()[:6]
    names = {name: f"{own}-{number}" for number, name in enumerate(used)}
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", svg)
    svg = _REFERENCE.sub(lambda found: f"url(#{names[found[1]]})", svg)
    return re.sub(r' href="#([^"]+)"', lambda found: f' href="#{names[found[1]]}"', svg)
