"""The book has all chapters once, in order, and its links stay in it or lead to the web."""

import re

import book
import home
import notebooks
import pytest

PAGE = """<html><head></head><body><article class="md-content__inner md-typeset">
<h1 id="the-law">The <em>law</em><a class="headerlink" href="#the-law">¶</a></h1>
<a href="#the-law">here</a> <a href="04_sampling.html#envelope">there</a> <a href="../notation.html">letters</a>
<a href="../results.html">elsewhere</a> <a href="https://example.org/x">outside</a> <a href="03_bessel.ipynb">file</a>
<img src="03_bessel/figure-1.png" loading="lazy"> <svg><use xlink:href="#mark"/><g clip-path="url(#clip)"/></svg>
<div class="explorable" data-explorable="vmf"><noscript><img src="../assets/explorables/vmf.png"></noscript></div>
<details><summary>Answer</summary>42</details></article></body></html>"""


def test_identifiers_and_links_become_the_book_s() -> None:
    paths = ["chapters/03_bessel.html", "chapters/04_sampling.html", "notation.html"]
    text = book.section(paths[0], PAGE, paths)
    assert text.startswith('<section id="chapters-03_bessel">')
    assert 'id="chapters-03_bessel-the-law"' in text
    for link in ("chapters-03_bessel-the-law", "chapters-04_sampling-envelope", "notation", "chapters-03_bessel-mark"):
        assert f'href="#{link}"' in text
    assert 'href="https://example.org/x"' in text
    assert "<a >elsewhere</a>" in text
    assert "<a >file</a>" in text
    assert "url(#chapters-03_bessel-clip)" in text
    assert 'src="chapters/03_bessel/figure-1.png"' in text
    assert 'src="assets/explorables/vmf.png"' in text
    assert "data-explorable" not in text
    assert "noscript" not in text
    assert "<details open>" in text


def test_titles_are_without_their_links() -> None:
    assert book.title(PAGE) == "The <em>law</em>"


def test_contents_list_chapters_by_parts() -> None:
    texts = {f"chapters/{source.stem}.html": PAGE for source in notebooks.sources()}
    texts |= {f"{name}.html": PAGE for name in book.AFTER}
    sheets = {book.anchor(path): 3 + i for i, path in enumerate(texts)}
    found = re.findall(r'<h2>(.*?)</h2>|href="#chapters-(\d\d)_', book.contents(texts, sheets))
    assert [int(number) for _, number in found if number] == list(range(len(notebooks.sources())))
    assert [title for title, _ in found if title] == [part.title for part in home.PARTS] + ["Reference"]
    numbers = re.findall(r'<span class="sheet">(\d*)</span>', book.contents(texts, sheets))
    assert numbers == [str(3 + i) for i in range(len(texts))]
    assert set(re.findall(r'<span class="sheet">(.*?)</span>', book.contents(texts, {}))) == {""}


def test_a_print_tells_on_which_sheet_each_section_begins(browser, tmp_path) -> None:
    sections = "".join(f'<section id="chapters-{i}" style="break-before: page">{i}</section>' for i in range(3))
    links = "".join(f'<a href="#chapters-{i}">{i}</a> ' for i in range(3))
    page = browser.new_page()
    page.set_content(f"<p>{links}</p>{sections}")
    page.pdf(path=tmp_path / "a.pdf")
    page.close()
    assert book.sheets_of(tmp_path / "a.pdf") == {f"chapters-{i}": 2 + i for i in range(3)}


@pytest.mark.slow
def test_the_book_of_the_site_has_no_dead_link_and_no_identifier_twice(site) -> None:
    text = book.book(site)
    identifiers = re.findall(r'\bid="([^"]+)"', text.partition("<article")[2])
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'<a [^>]*href="#([^"]+)"', text)) <= set(identifiers)
    assert text.count("<section id=") == len(notebooks.sources()) + len(book.AFTER)
    for address in re.findall(r'<img [^>]*src="([^"]+)"', text):
        assert (site / address).exists()
