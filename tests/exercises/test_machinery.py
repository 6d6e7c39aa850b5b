"""A checker says what is wrong, whatever a function does; shown on a toy.

Statistical: one law is tested on right samples, with an error rate of 1e-7.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from toy import TOY, library_variance, spread

from hvae_tutorial.exercises._cases import law, value


def spread_by(result: Callable[[Tensor, float], Any]) -> str:
    """What the checker says of a function."""
    verdict = TOY.check(result, seed=1, seconds=5)
    assert not verdict.passed
    return " ".join(str(verdict).split())


def right(x: Tensor, factor: float) -> Tensor:
    return factor**2 * x.var(-1, correction=0)


def in_place(x: Tensor, factor: float) -> Tensor:
    answer = right(x, factor)
    with torch.no_grad():
        x.mul_(factor)
    return answer


def helper(x: Tensor) -> Tensor:
    return x.no_such_thing


def test_a_right_function_passes_and_is_told_what_was_checked() -> None:
    text = " ".join(str(TOY.check(right, seed=3)).split())
    assert text == "ch99.1 A toy: passed, 7 checks: shapes and dtypes (seed 3, given: not counted)."
    assert TOY.check(spread).passed


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, factor: None, "it returns None: is the return statement missing?"),
        (
            lambda x, factor: right(x, factor).detach().numpy()[()],
            "it returns NumPy (float64), should be a torch.Tensor",
        ),
        (
            lambda x, factor: right(x, factor).reshape(1).detach().numpy(),
            "it returns NumPy (ndarray), should be a torch.Tensor",
        ),
        (lambda x, factor: 3.0, "it returns a float, should be a torch.Tensor"),
        (lambda x, factor: right(x, factor)[None], "the result has shape (1,), should be ()"),
        (lambda x, factor: right(x, factor).float(), "the result has dtype float32, should be float64"),
        (lambda x, factor: right(x.detach(), factor), "the result is detached: no gradient flows through it"),
        (lambda x, factor: right(x.detach(), factor) + 0 * right(x, factor), "gradient: yours 0 at index (0,)"),
        (lambda x, factor: right(x, factor) / 0 * 0, "yours is nan, should be"),
        (in_place, "it changes its argument x in place"),
        (lambda x, factor: helper(x), "it raises AttributeError: 'Tensor' object has no attribute 'no_such_thing'"),
        (lambda x: x, "it raises TypeError:"),
        (lambda x, factor: exit(), "it raises SystemExit"),
    ],
)
def test_each_fault_has_its_message(function: Callable[..., Any], message: str) -> None:
    text = spread_by(function)
    assert message in text
    assert 'Next: exercises.hint("ch99.1")' in text
    assert "seed=1" in text


def test_the_case_is_shown_small() -> None:
    text = spread_by(lambda x, factor: right(x, factor) * (1 + 0.1 * factor))
    assert "At check 1 of 7, x = [" in text
    assert "...] (shape (4,), float64), factor = 1." in text
    assert "ratio to the truth 1.1" in text


def test_tracebacks_show_the_learners_lines_and_no_others() -> None:
    text = str(TOY.check(lambda x, factor: helper(x), seed=1))
    assert "in helper: return x.no_such_thing" in text
    assert "_exercise.py" not in text
    assert "case.ask" not in text
    assert text.count("    line ") == 2  # the lambda and the helper


def test_errors_deep_in_a_library_end_at_the_learners_line() -> None:
    text = str(TOY.check(lambda x, factor: torch.linalg.inv(x), seed=1))
    assert "torch.linalg.inv(x)" in text
    assert "site-packages" not in text


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_endless_loop_is_given_up_and_its_line_named(stubborn: bool) -> None:
    def endless(x: Tensor, factor: float) -> Tensor:
        while True:
            if stubborn:
                try:
                    time.sleep(0.01)
                except BaseException:
                    return x
            else:
                factor += 1

    before = threading.active_count()
    begin = time.monotonic()
    text = str(TOY.check(endless, seed=1, seconds=0.5))
    assert time.monotonic() - begin < 5
    assert "no answer within 0.5 s for all checks: too slow, or an endless loop; it was at" in " ".join(text.split())
    assert "in endless: " in text
    assert threading.active_count() == before  # it has stopped


def test_a_stub_is_not_written_yet_and_is_no_try() -> None:
    names = {"Tensor": Tensor}
    exec(TOY.stub, names)
    verdict = TOY.check(names["spread"])
    assert (verdict.passed, verdict.written) == (False, False)
    assert str(verdict) == "ch99.1 A toy: not written yet."
    assert not TOY.check(3).written


def test_the_stub_is_the_solution_without_its_body() -> None:
    assert TOY.stub.startswith("def spread(x: Tensor, factor: float) -> Tensor:\n")
    assert "Variance of factor * x." in TOY.stub
    assert TOY.stub.endswith('    """\n    raise NotImplementedError("spread is yours to write")')
    assert "mean(-1)" in TOY.solution_source
    assert "mean(-1)" not in TOY.stub
    assert TOY.given_source.startswith("def scaled(")
    assert TOY.imports == "from torch import Tensor"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_known_mistake_is_recognised_in_another_form(number: int) -> None:
    def bessel(x: Tensor, factor: float) -> Tensor:
        n = x.shape[-1]
        return right(x, factor) * n / (n - 1)

    def without_factor(x: Tensor, factor: float) -> Tensor:
        return (x - x.mean(-1, keepdim=True)).square().mean(-1)

    def divides(x: Tensor, factor: float) -> Tensor:
        return x / (1 % 0)

    function = (bessel, without_factor, divides)[number]
    verdict = TOY.check(function, seed=1)
    assert verdict.cause is TOY.mistakes[number]
    assert f"Likely cause: {TOY.mistakes[number].says} (It explains" in str(verdict)


def test_what_is_only_close_to_a_mistake_is_not_taken_for_it() -> None:
    verdict = TOY.check(lambda x, factor: factor**2 * x.var(-1) * 1.01, seed=1)
    assert verdict.cause is None
    assert "Likely cause" not in str(verdict)
    mixed = TOY.check(lambda x, factor: factor**2 * x.var(-1, correction=int(x.ndim == 1)), seed=1)
    assert mixed.cause is None  # it agrees with a mistake in some cases only


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x, factor: -right(x, factor), "the right ones, negated"),
        (lambda x, factor: 3 * right(x, factor), "the right ones times 3, the same factor everywhere"),
        (lambda x, factor: right(x, factor).sqrt(), "the square roots of the right ones"),
    ],
)
def test_simple_relations_to_the_truth_are_named(function: Callable[..., Any], says: str) -> None:
    assert says in spread_by(function)


def test_the_seed_decides_and_a_fresh_one_is_drawn() -> None:
    seen: list[float] = []

    def noting(x: Tensor, factor: float) -> Tensor:
        seen.append(factor)
        return right(x, factor)

    for seed in (1, 1, 2, None, None):
        TOY.check(noting, seed)
    runs = np.array(seen).reshape(5, 7)[:, :6]
    assert (runs[0] == runs[1]).all()
    assert len(np.unique(runs[1:], axis=0)) == 4


def test_calls_of_the_library_are_named_but_not_refused() -> None:
    verdict = TOY.check(lambda x, factor: factor**2 * library_variance(x), seed=1)
    assert verdict.passed
    assert "Note: it calls hvae_tutorial's library_variance; the exercise is to write this." in str(verdict)
    assert "it calls the reference solution" in str(TOY.check(lambda x, factor: spread(x, factor), seed=1)).replace(
        "hvae_tutorial's ", ""
    )
    assert "Note" not in str(TOY.check(right, seed=1))


def test_random_numbers_of_others_are_left_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    wanted = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    TOY.check(lambda x, factor: right(x, factor) + 0 * torch.rand(1, dtype=x.dtype)[0], seed=1)
    assert torch.equal(wanted[0], torch.rand(2))
    assert (wanted[1] == np.random.rand(2)).all()  # noqa: NPY002


def test_samples_are_compared_with_a_law_and_with_one_another() -> None:
    torch.manual_seed(0)
    n = 20_000
    case = law((n,), stats.norm.cdf, shape=(n,), name="x")
    normal, again, wide = torch.randn(n), torch.randn(n), 1.2 * torch.randn(n)
    assert case.judge(normal) is None
    assert "wrong law: the share of samples with x <= " in (case.judge(wide) or "")
    assert case.same(normal, again)
    assert not case.same(normal, wide)
    assert case.same(wide, 1.2 * torch.randn(n))
    assert "has shape (3,)" in (case.judge(normal[:3]) or "")
    normal[:7] = torch.nan
    assert case.judge(normal) == "7 of 20000 numbers are not finite"


def test_infinity_agrees_with_infinity_alone() -> None:
    case = value((), torch.tensor([1.0, -torch.inf]), rtol=0.1)
    assert case.judge(torch.tensor([1.0, -torch.inf])) is None
    assert case.judge(torch.tensor([1.0, 5.0])) is not None
    assert not case.same(torch.tensor([1.0, 5.0]), torch.tensor([1.0, -torch.inf]))
    assert case.same(torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.nan]))


def test_draws_of_any_number() -> None:
    case = law((), stats.norm.cdf, shape=(None, 2), of=lambda points: points[:, 0])
    torch.manual_seed(1)
    few, many = torch.randn(2000, 2), torch.randn(5000, 2)
    assert case.judge(few) is None
    assert case.same(few, many)
    assert case.judge(few[:, :1]) == "the result has shape (2000, 1), should be (any, 2)"
    assert case.judge(few[:0]) == "the result is empty"
    assert case.judge(few.long()) == "the result has dtype int64, should be a floating-point tensor"


def test_numbers_are_compared_in_double_precision() -> None:
    case = value((), 1 / 3, rtol=1e-12)
    for same in (1 / 3, np.float64(1 / 3), torch.tensor(1 / 3, dtype=torch.float64)):
        assert case.judge(same) is None
        assert case.same(same, 1 / 3)
    for other in (1 / 3 + 1e-9, np.float64(1 / 3 + 1e-9), torch.tensor(1 / 3)):
        assert "relative error" in (case.judge(other) or "")
        assert not case.same(other, 1 / 3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((1.0, 2.0, torch.ones(2)), None),
        ((1.0, 2.0), "it returns a tuple of 2, should be a tuple of 3"),
        ([1.0, 2.0, torch.ones(2)], None),
        ([1.0, 2.0], "it returns a list of 2, should be a tuple of 3"),
        (torch.ones(3), "it returns a Tensor, should be a tuple of 3"),
        ((1.0, "2", torch.ones(2)), "part 2 of the result: it returns a str, should be a number"),
        ((1.0, 2.0, torch.ones(3)), "part 3 of the result: the result has shape (3,), should be (2,)"),
        ((1.5, 2.0, torch.ones(2)), "part 1 of the result: yours 1.5, should be 1, ratio to the truth 1.5"),
        (
            (1.0, 2.0, torch.tensor([1.0, 4.0])),
            "part 3 of the result: yours 4 at index (1,), should be 1, ratio to the truth 4",
        ),
    ],
)
def test_what_is_wrong_with_a_part_of_a_result_is_said_by_its_number(answer: Any, message: str | None) -> None:
    assert value((), (1.0, 2.0, torch.ones(2)), rtol=1e-6).judge(answer) == message
