"""A page shows all of its notebook and nothing else: prose, code, outputs, figures with their descriptions."""

import drawings
import nbformat
import pages
import pytest
from markdown import Markdown
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

DOWNLOADS = pages.Downloads("03_bessel.ipynb", "03_bessel.py", "hvae_tutorial-1.0-py3-none-any.whl")
HEADER = """\
# Bessel functions

*How do you compute the logarithm of a number
that is too small to exist?*

**You will be able to**
- compute it

**You need**: [chapter 2](02_von_mises_fisher.ipynb#the-law).

**Time**: about 40 minutes to read, 25 for the exercises."""


SVG = '<svg viewBox="0 0 504 230" width="700" height="320" role="img" aria-label="A ramp"><path d="M1_2*3*4_5"/></svg>'


def picture(alt: str = "A ramp") -> nbformat.NotebookNode:
    return new_output("display_data", {"image/svg+xml": SVG}, metadata={"image/svg+xml": {"alt": alt}})


def markdown(text: str) -> nbformat.NotebookNode:
    return new_output("display_data", {"text/markdown": text})


def page(*cells: nbformat.NotebookNode, downloads: pages.Downloads = DOWNLOADS) -> str:
    notebook = new_notebook(cells=[new_markdown_cell(HEADER), *cells])
    return pages.chapter_page(notebook, "03_bessel", downloads)


def test_the_header_is_read_and_moved_below_the_title() -> None:
    notebook = new_notebook(cells=[new_code_cell("1"), new_markdown_cell(HEADER)])
    assert pages.title(notebook) == "Bessel functions"
    assert pages.question(notebook) == "How do you compute the logarithm of a number that is too small to exist?"
    text = page()
    assert text.startswith('# Bessel functions\n\n<div class="chapter"')
    assert '<p class="facts">Chapter 3 · reading 40 min · exercises 25 min</p>' in text
    assert "**Time**" not in text


def test_a_chapter_without_time_or_question_has_none() -> None:
    notebook = new_notebook(cells=[new_markdown_cell("# Welcome\n\nHello.")])
    assert pages.question(notebook) == ""
    text = pages.chapter_page(notebook, "00_welcome", DOWNLOADS)
    assert '<p class="facts">Chapter 0</p>' in text


def test_the_setup_cell_the_error_stream_and_empty_cells_are_left_out() -> None:
    setup = new_code_cell("%pip install hvae_tutorial", metadata={"tags": ["setup"]})
    warned = new_code_cell("1 + 1", outputs=[new_output("stream", name="stderr", text="careful")])
    text = page(setup, warned, new_code_cell(""))
    assert "%pip" not in text
    assert "careful" not in text
    assert text.count("```") == 2
    assert "```python\n1 + 1\n```" in text


def test_what_is_printed_is_neither_markdown_nor_html() -> None:
    printed = new_output("stream", name="stdout", text="a <b> & $x$\n\n**c**\n")
    value = new_output("execute_result", {"text/plain": "tensor([1 < 2])"}, execution_count=1)
    text = page(new_code_cell("print(...)", outputs=[printed, value]))
    assert '<div class="output"><pre>a &lt;b&gt; &amp; $x$\n\n**c**</pre></div>' in text
    assert '<div class="output"><pre>tensor([1 &lt; 2])</pre></div>' in text


def test_code_with_a_fence_in_it_gets_a_longer_one() -> None:
    assert pages.code("'''```'''").startswith("````python\n")


def test_a_figure_is_in_the_page_with_its_caption_once() -> None:
    caption = "**Figure 3.1.** See [chapter 4](04_sampling.ipynb)\nand $\\kappa$."
    text = page(new_code_cell("show()", outputs=[picture(), markdown(caption), markdown("After.")]))
    assert text.count(drawings.drawing(SVG)) == 1
    assert text.count("**Figure 3.1.** See [chapter 4](04_sampling.md) and $\\kappa$.") == 1
    assert text.endswith("</figure>\n\nAfter.\n")
    html = Markdown(extensions=["md_in_html"]).convert(text)
    assert '<path d="M1_2*3*4_5"/></svg></div>' in html  # no Markdown was found in it
    assert 'markdown="' not in html


def test_the_colours_of_a_page_s_figures_stand_once_at_its_end() -> None:
    coloured = picture()
    coloured.data["image/svg+xml"] = SVG.replace("<path ", '<path style="fill:#0072b2" ')
    text = page(new_code_cell("show()", outputs=[coloured, coloured]))
    assert text.count("var(--lift-0072b2,#0072b2)") == 2
    assert text.count("<style>") == 1
    assert text.rstrip().endswith("--lift-0072b2:#47aee8;}}</style>")


def tagged(tag: str, *outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return new_code_cell("x = '```'", outputs=list(outputs), metadata={"tags": [tag]})


def printed(text: str) -> nbformat.NotebookNode:
    return new_output("stream", name="stdout", text=text)


def test_the_code_of_a_figure_is_folded_below_it() -> None:
    text = page(tagged("picture", picture(), markdown("**Figure 3.1.** A ramp."), markdown("It rises.")))
    figure, said, code = text.index("<figure"), text.index("It rises."), text.index('<details class="code"')
    assert figure < said < code
    assert '<summary markdown="0">Code of the figure</summary>\n\n````python\nx = ' in text
    assert text.endswith("\n````\n\n</details>\n")


def test_the_code_of_a_sentence_is_folded_below_it() -> None:
    text = page(tagged("words", markdown("The mean is 0.5.")))
    assert text.index("The mean is 0.5.") < text.index('<summary markdown="0">Code of the numbers</summary>')


def test_what_a_check_says_is_seen_and_its_code_is_folded() -> None:
    text = page(tagged("checks", printed("Checked: a*b*c < 1 & _d_.\n")))
    summary = '<span class="checked">Checked: a*b*c &lt; 1 &amp; _d_.</span> Code of the check'
    assert f'<details class="code" markdown="1">\n<summary markdown="0">{summary}</summary>\n\n````python' in text
    assert '<div class="output">' not in text
    html = Markdown(extensions=["md_in_html", "pymdownx.superfences", "pymdownx.arithmatex"]).convert(text)
    assert summary in html  # no Markdown was found in it
    assert "<summary markdown" not in html
    assert '<div class="highlight">' in html


@pytest.mark.parametrize("outputs", [[], [printed("Checked: a\nb")], [printed("All is well.")]])
def test_a_check_that_says_nothing_is_refused(outputs: list) -> None:
    with pytest.raises(pages.PageError, match="03_bessel: a cell of checks prints one line"):
        page(tagged("checks", *outputs))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([picture(alt="")], "03_bessel: a figure has no alt text"),
        ([new_output("error", ename="ValueError", evalue="bad", traceback=[])], "a cell has failed with ValueError"),
    ],
)
def test_what_no_page_can_be_made_of(outputs: list, message: str) -> None:
    with pytest.raises(pages.PageError, match=message):
        page(new_code_cell("show()", outputs=outputs))


def test_a_page_begins_with_a_title() -> None:
    with pytest.raises(pages.PageError, match="does not begin with a title"):
        pages.chapter_page(new_notebook(cells=[new_markdown_cell("Hello")]), "00_welcome", DOWNLOADS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[a](03_bessel.ipynb)", "[a](03_bessel.md)"),
        ("[a](./03_bessel.ipynb#the-trap) [b](04_x.ipynb)", "[a](03_bessel.md#the-trap) [b](04_x.md)"),
        ("[a](https://example.org/03_bessel.ipynb)", "[a](https://example.org/03_bessel.ipynb)"),
        ("```\n[a](03_bessel.ipynb)\n```", "```\n[a](03_bessel.ipynb)\n```"),
        ("Two:\n- a\n- b", "Two:\n\n- a\n- b"),
        ("- a\n  - b\n  - c\n- d", "- a\n    - b\n    - c\n- d"),
        ("1. a\n   - b", "1. a\n    - b"),
        ("- a\n  goes on\n- b", "- a\n  goes on\n- b"),
        ("```\nx\n- y\n```", "```\nx\n- y\n```"),
    ],
)
def test_prose_is_what_the_site_reads(source: str, expected: str) -> None:
    assert pages.prose(source) == expected


REPOSITORY = "https://github.com/someone/hvae_tutorial"


def test_without_an_address_there_is_no_badge_but_the_wheel_and_two_lines() -> None:
    text = page()
    assert "Open in Colab" not in text
    assert "[Source]" not in text
    assert "[Library](hvae_tutorial-1.0-py3-none-any.whl)" in text
    assert text.count("\n1. ") == text.count("\n2. ") == 1


@pytest.mark.parametrize("address", [REPOSITORY, f"{REPOSITORY}.git", f"{REPOSITORY}/"])
def test_with_an_address_colab_opens_the_notebook(address: str) -> None:
    target = "https://colab.research.google.com/github/someone/hvae_tutorial/blob/main/chapters/03_bessel.ipynb"
    assert pages.colab_address(address, "03_bessel") == target


def test_with_an_address_the_badge_and_the_source_are_shown() -> None:
    text = page(downloads=pages.Downloads("a.ipynb", "a.py", "a.whl", REPOSITORY))
    assert "[Open in Colab](https://colab.research.google.com/github/someone/" in text
    assert f"[Source]({REPOSITORY}/blob/main/chapters/03_bessel.py)" in text
    assert "a.whl" not in text


def test_colab_knows_github_alone() -> None:
    text = page(downloads=pages.Downloads("a.ipynb", "a.py", "a.whl", "https://example.org/hvae"))
    assert "Open in Colab" not in text
    assert "[Library](a.whl)" in text
    assert "[Source](https://example.org/hvae/blob/main/chapters/03_bessel.py)" in text
