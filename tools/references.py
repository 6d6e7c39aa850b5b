"""References: what a chapter cites, from `docs/references.bib`.

A chapter's source has `[@davidson2018]` or `[@davidson2018, equation 14]` in its text, and its list of references has
items such as `- [@davidson2018] Equation 8: the divergence.` In the notebook a citation becomes a link to the item, and
the item begins with the whole reference.
"""

import functools
import re
from pathlib import Path

from pybtex.database import Entry, Person, parse_file

BIBLIOGRAPHY = Path(__file__).parents[1] / "docs" / "references.bib"
ITEM = re.compile(r"^- \[@([\w-]+)\]", flags=re.MULTILINE)
CITATION = re.compile(r"\[@([\w-]+)(?:,\s+([^\]]+))?\]")


@functools.cache
def entries() -> dict[str, Entry]:
    """Return the works, by key."""
    return dict(parse_file(BIBLIOGRAPHY, bib_format="bibtex").entries)


def expanded(source: str) -> str:
    """Return Markdown with its citations and items written out.

    Raises:
        KeyError: A key is not in the bibliography.
    """
    return CITATION.sub(_link, ITEM.sub(_item, source))


def cited(source: str) -> list[str]:
    """Return the keys of all citations and items in Markdown."""
    return [citation[1] for citation in CITATION.finditer(source)]


def listed(source: str) -> list[str]:
    """Return the keys of the items in Markdown."""
    return [item[1] for item in ITEM.finditer(source)]


def label(entry: Entry, place: str = "") -> str:
    """Return how a text names a work: "Wood (1994)", "Davidson et al. (2018, equation 14)", "graphnet, issue 900"."""
    names = [_surname(person) for person in entry.persons["author"]]
    authors = " and ".join(names) if len(names) <= 2 else f"{names[0]} et al."
    if "year" not in entry.fields:
        return ", ".join(filter(None, [authors, entry.fields["title"], place]))
    return f"{authors} ({', '.join(filter(None, [entry.fields['year'], place]))})"


def reference(entry: Entry) -> str:
    """Return a work in full, as Markdown: authors, year, title, where it appeared, links."""
    fields = entry.fields
    authors = ", ".join(" ".join(filter(None, [_initials(p), _surname(p)])) for p in entry.persons["author"])
    where = fields.get("journal") or fields.get("booktitle") or fields.get("publisher") or ""
    if "volume" in fields:
        where += f" {fields['volume']}"
    if "pages" in fields:
        where += f", {fields['pages'].replace('-', '–')}"
    title = f"*{fields['title']}*"
    links = []
    if "doi" in fields:
        links.append(f"[doi:{fields['doi']}](https://doi.org/{fields['doi']})")
    if "eprint" in fields:
        links.append(f"[arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})")
    if "url" in fields:
        links.append(f"[{re.sub(r'^https?://(www[.])?|/$', '', fields['url'])}]({fields['url']})")
    who_and_what = f"{authors} ({fields['year']}). {title}" if "year" in fields else f"{authors}, {title}"
    return ". ".join(filter(None, [who_and_what, where, ", ".join(links)])) + "."


def _item(item: re.Match[str]) -> str:
    return f'- <a id="ref-{item[1]}"></a>{reference(_entry(item[1]))}'


def _link(citation: re.Match[str]) -> str:
    place = " ".join((citation[2] or "").split())
    return f"[{label(_entry(citation[1]), place)}](#ref-{citation[1]})"


def _entry(key: str) -> Entry:
    try:
        return entries()[key]
    except KeyError:
        raise KeyError(f"{key!r} is not in {BIBLIOGRAPHY.name}") from None


def _surname(person: Person) -> str:
    return " ".join([*person.prelast_names, *person.last_names]).strip("{}")


def _initials(person: Person) -> str:
    names = [*person.first_names, *person.middle_names]
    return " ".join(name if name.endswith(".") else f"{name[0]}." for name in names)
