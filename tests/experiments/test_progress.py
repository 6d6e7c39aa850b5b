"""Where there is no terminal, progress is a plain line now and then."""

import io

import pytest
from tqdm import tqdm

from hvae_tutorial.experiments import progress
from hvae_tutorial.experiments.progress import PlainLines


def lines_of(every: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(progress, "LINE_EVERY", every)
    stream = io.StringIO()
    plain = PlainLines(stream)
    with tqdm(total=50, desc="run", file=plain, mininterval=0) as bar:
        for i in range(50):
            bar.set_postfix_str(f"state {i}", refresh=False)
            bar.update()
            if i == 20:
                bar.write("[1/4] a line between", file=plain)
    print("the end", file=plain)
    assert "\r" not in stream.getvalue()
    return stream.getvalue().splitlines()


def test_a_bar_becomes_a_few_lines_and_its_last_state_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(1e9, monkeypatch)
    assert lines[1] == "[1/4] a line between"
    assert "50/50" in lines[-2]
    assert "state 49" in lines[-2]
    assert lines[-1] == "the end"
    assert len(lines) <= 5


def test_all_states_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(0.0, monkeypatch)
    assert len(lines) > 40
    assert any("state 7," in line or line.endswith("state 7]") for line in lines)


def test_plain_text_passes_through_line_by_line() -> None:
    stream = io.StringIO()
    plain = PlainLines(stream)
    plain.write("half a ")
    assert stream.getvalue() == ""
    plain.write("line\nand another\n\n")
    assert stream.getvalue() == "half a line\nand another\n"
