"""A number that the prose gives with a unit or a decimal point is in what code of the chapter prints, says or has."""

from pathlib import Path

import nbformat
import notebooks
import prose_numbers
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)
def test_every_number_of_the_prose_has_evidence(source: Path) -> None:
    assert not prose_numbers.unfounded(nbformat.read(source.with_suffix(".ipynb"), as_version=4))


def printed(text: str):
    return new_output("stream", name="stdout", text=text)


def said(text: str):
    return new_output("display_data", {"text/markdown": text, "text/plain": text})


CAPTION = new_output("display_data", {"text/markdown": "At 0.37.", "text/plain": "<IPython Markdown object>"})


@pytest.mark.parametrize(
    ("prose", "code", "output", "held"),
    [
        ("It is 0.37.", "print(x)", printed("mean 0.374 of 3"), True),
        ("It is 0.38.", "print(x)", printed("mean 0.374 of 3"), False),
        ("It is 0.37.", "print(x)", printed("mean 0.4"), False),
        ("It is 0.37.", "assert x < 0.37", None, True),
        ("It is 0.37.", "x = 'at 0.37'  # 0.37", None, False),
        ("It is 0.37.", "plotting.say(f'{x}')", said("It is **0.37**."), True),
        ("It is 0.37.", "plotting.show(figure, caption)", CAPTION, False),
        ("About 12% are lost.", "print(x)", printed("0.12"), True),
        ("About 12% are lost.", "print(x)", printed("12.3 %"), True),
        ("About 12% are lost.", "print(x)", printed("0.13"), False),
        ("After $1{,}500$ draws, 1,500 points.", "draws = 1_500", None, True),
        ("It has 1,500 points.", "print(x)", printed("1,501 points"), False),
        ("Of the order $2.1 \\cdot 10^{-3}$.", "print(x)", printed("2.1e-03"), True),
        ("Of the order $2.1 \\cdot 10^{-3}$.", "print(x)", printed("2.1"), False),
        ("A gap of $-3.5$ nats.", "print(x)", printed("-3.52"), True),
        ("It pays 12 nats.", "x = 13", None, False),
        ("It pays $12$ nats.", "x = 13", None, False),
        ("It takes 40 epochs.", "settings = Settings(epochs=40)", None, True),
    ],
)
def test_a_number_is_held_or_not(prose: str, code: str, output, held: bool) -> None:
    cell = new_code_cell(code, outputs=[output] if output else [])
    notebook = new_notebook(cells=[new_markdown_cell(prose), cell])
    assert (not prose_numbers.unfounded(notebook)) == held


@pytest.mark.parametrize(
    ("caption", "held"),
    [
        ('"At 0.37."', False),
        ('"At 0.25."', True),
        ('f"At {x:.2f}, 40 nats."', False),
        ('f"At {x:.2f} nats, {y}%."', True),
        ('"Some. " + ("At 0." "37.")', False),
        ('alt="A curve that falls by 12%."', False),
        ('alt="Figure 3.1 has $m = 40$."', True),
    ],
)
def test_numbers_typed_in_captions_and_alt_texts_are_claims(caption: str, held: bool) -> None:
    cells = [new_code_cell("x = 0.25"), new_code_cell(f"plotting.show(figure, {caption})")]
    assert (not prose_numbers.unfounded(new_notebook(cells=cells))) == held


@pytest.mark.parametrize(
    "prose",
    [
        "See arXiv:1804.00891 and [there](https://dlmf.nist.gov/10.29.E2), doi:10.1000/182.37.",
        "Section 3.2, equations (4.1) and (4.2), Figure 2.1, chapter 5, Table 1, DLMF 10.41.3, lines 12 to 14.",
        "With PyTorch 2.13, SciPy 1.11 and geoopt 0.5.1, version 0.2.",
        "**Time**: 40 minutes.",
        "Call `f(0.5)`, or\n\n```python\nx = 0.25\n```",
        "## References\n\n- Someone (2018), 0.25 nats.",
        "In 2018 there were 12 of them.",
    ],
)
def test_what_is_no_claim(prose: str) -> None:
    assert not list(prose_numbers.claims(prose))


def test_claims_after_the_references_count() -> None:
    assert list(prose_numbers.claims("## References\n\n- 0.5\n\n## Appendix\n\nIt is 0.25."))


def test_exercises_have_their_own_checks() -> None:
    cells = [new_markdown_cell("In 15 minutes.", metadata={"tags": [tag]}) for tag in prose_numbers.EXERCISE]
    assert not prose_numbers.unfounded(new_notebook(cells=cells))
