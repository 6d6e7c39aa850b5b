"""Lighter pages: HTML without indentation, style sheets without comments, and the theme's without rules nobody uses.

A rule is used if all classes that it asks for occur in a page or in a script, and its colour schemes in a page. What a
selector excludes, or offers as one of several, is not looked at. A variable is used if a rule or another style sheet
asks for it.
"""

import re
from collections.abc import Collection, Iterator

CHOICES = re.compile(r":(?:is|not|where|has)\((?:[^()]|\([^()]*\))*\)")
CLASS = re.compile(r"\.(-?[A-Za-z_](?:[\w-]|\\.)*)")
SCHEME = re.compile(r"data-md-color-(?:scheme|primary|accent)=\"?([\w-]+)")
WORD = re.compile(r"[A-Za-z_][\w-]*")
NESTED = ("@media", "@supports", "@container", "@layer")


def used_classes(pages: Collection[str], scripts: Collection[str], features: Collection[str] = ()) -> set[str]:
    """Return the classes in some HTML, and the words of scripts, since these may set any of them as a class.

    Args:
        pages: HTML.
        scripts: JavaScript.
        features: Beginnings of classes that a script sets only within what a page has of the same beginning.
    """
    named = {name for page in pages for value in re.findall(r'\bclass="([^"]*)"', page) for name in value.split()}
    absent = tuple(begin for begin in features if not any(name.startswith(begin) for name in named))
    words = {word for script in scripts for word in WORD.findall(script)}
    return named | {word for word in words if not word.startswith(absent)}


def used_schemes(pages: Collection[str]) -> set[str]:
    """Return the colour schemes in some HTML, and the names of their colours."""
    return {name for page in pages for name in SCHEME.findall(page)}


def stylesheet(css: str, used: Collection[str], schemes: Collection[str]) -> str:
    """Return a style sheet without the rules, and the selectors of rules, that ask for what is not used.

    Args:
        css: without comments that contain braces.
        used: Classes. One that ends in a hyphen stands for all that begin with it.
        schemes: Colour schemes and names of colours.
    """
    beginnings = tuple(name for name in used if name.endswith("-"))

    def is_used(selector: str) -> bool:
        asked = CHOICES.sub("", selector)
        return (
            all(name in used or name.startswith(beginnings) for name in CLASS.findall(asked))
            and all(name in schemes for name in SCHEME.findall(asked))
            and "[dir=rtl]" not in asked
        )

    kept = []
    for head, body in _rules(css):
        if body is None or (head.startswith("@") and not head.startswith(NESTED)):
            kept.append(head if body is None else f"{head}{{{body}}}")
        elif head.startswith("@"):
            inner = stylesheet(body, used, schemes)
            kept.append(f"{head}{{{inner}}}" if inner else "")
        elif selectors := [selector for selector in _parts(head) if is_used(selector)]:
            kept.append(f"{','.join(selectors)}{{{body}}}")
    return "".join(kept)


def without_variables(css: str, asked: str) -> str:
    """Return a style sheet without the variables with pictures for which neither it nor another text asks."""
    wanted = set(re.findall(r"var\((--[\w-]+)", css + asked))
    picture = re.compile(r"(--[\w-]+):url\(\"data:[^\"]*\"\);?")
    return picture.sub(lambda found: found[0] if found[1] in wanted else "", css)


def without_comments(css: str) -> str:
    """Return a style sheet without comments and indentation; in a string neither is to be found."""
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)).strip() + "\n"


def _rules(css: str) -> Iterator[tuple[str, str | None]]:
    """Yield what stands before braces and in them; statements without braces, such as @charset, with nothing."""
    start = depth = 0
    head = ""
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|url\([^"\')]*\)|[{};]', css):
        sign, at = found[0], found.start()
        if sign == "{":
            if depth == 0:
                head, start = css[start:at].strip(), at + 1
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                yield head, css[start:at]
                start = at + 1
        elif sign == ";" and depth == 0:
            yield css[start : at + 1].strip(), None
            start = at + 1


def _parts(selectors: str) -> list[str]:
    """The selectors of a list, whose commas are not those in brackets."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(selectors):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append(selectors[start:at])
            start = at + 1
    return [*parts, selectors[start:]]


def without_indentation(page: str) -> str:
    """Return HTML without the spaces that lines begin with, but where they are shown or are a script's."""
    parts = re.split(r"(<(pre|script|textarea)\b.*?</\2>)", page, flags=re.DOTALL)
    # Of every three parts: what stands between, the element, its name.
    return "".join(re.sub(r"\n\s+", "\n", part) if at % 3 == 0 else part for at, part in enumerate(parts) if at % 3 < 2)
