"""An exercise: what is asked, hints, a solution, and a checker that says what is wrong and why."""

import ast
import inspect
import secrets
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from hvae_tutorial.exercises import _progress
from hvae_tutorial.exercises._cases import Case, Refused, small
from hvae_tutorial.exercises._diagnosis import Mistake, outcome, relation, same
from hvae_tutorial.exercises._guard import GivenUp, Raised, call

SECONDS = 10.0  # for all calls of one check together
WIDTH = 88  # of what is printed


@dataclass(frozen=True)
class Verdict:
    """What a check found; its text is for the learner.

    Args:
        passed: Whether all cases were right.
        written: Whether there was anything to check: a stub that raises NotImplementedError is not.
        cause: The known mistake that explains all answers, if there is one.
        text: What is shown.
    """

    passed: bool
    text: str
    written: bool = True
    cause: Mistake | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise. Called with a learner's function, it prints the verdict and keeps the progress.

    Args:
        id: `ch05.3`.
        title: A few words.
        topic: Under which the index lists it.
        difficulty: 1 to 5.
        importance: 1 to 5.
        minutes: How long it takes.
        question: What is asked, as Markdown.
        solution: The reference solution. Its signature and docstring are the stub's.
        explanation: Why the solution is right, as Markdown.
        hints: From a nudge to nearly all of it, as Markdown.
        cases: From a generator, the questions that the checker asks; simple ones first.
        checked: What `cases` covers, for the line that a right solution gets.
        mistakes: Known wrong solutions.
        replaces: Functions of the library that the learner is to write; calling them is named, not refused.
        given: Functions that the learner gets.
    """

    id: str
    title: str
    topic: str
    difficulty: int
    importance: int
    minutes: int
    question: str
    solution: Callable[..., Any]
    explanation: str
    hints: tuple[str, ...]
    cases: Callable[[Generator], Iterable[Case]] = field(repr=False)
    checked: str
    mistakes: tuple[Mistake, ...] = ()
    replaces: tuple[Callable[..., Any], ...] = ()
    given: tuple[Callable[..., Any], ...] = ()

    @property
    def name(self) -> str:
        """The name of the function to write."""
        return self.solution.__name__

    @property
    def chapter(self) -> int:
        """The chapter that the exercise belongs to."""
        return int(self.id[2:4])

    @property
    def number(self) -> str:
        """`5.3`."""
        return f"{self.chapter}.{self.id.partition('.')[2]}"

    @property
    def stub(self) -> str:
        """The code to start from: signature, docstring, and an error in place of the body."""
        lines = self.solution_source.splitlines()
        definition = ast.parse(self.solution_source).body[0]
        assert isinstance(definition, ast.FunctionDef)
        head = "\n".join(lines[: definition.body[0].end_lineno])
        return f'{head}\n    raise NotImplementedError("{self.name} is yours to write")'

    @property
    def solution_source(self) -> str:
        """The code of the reference solution."""
        return textwrap.dedent(inspect.getsource(self.solution)).rstrip()

    @property
    def given_source(self) -> str:
        """The code of the functions that the learner gets; may be empty."""
        return "\n\n\n".join(inspect.getsource(function).rstrip() for function in self.given)

    @property
    def imports(self) -> str:
        """The imports that stub and solution need."""
        return needed_imports([self])

    def __call__(self, function: Callable[..., Any], seed: int | None = None) -> None:
        """Check a function and print the verdict.

        Args:
            function: The learner's.
            seed: Of the numbers that the checker draws. A fresh one by default; a check with a given seed is a repeat,
                and does not count for the progress.
        """
        verdict = self.check(function, seed)
        print(verdict)
        if seed is None and verdict.written:
            _progress.tried(self.id, verdict.passed)

    def check(self, function: Callable[..., Any], seed: int | None = None, *, seconds: float = SECONDS) -> Verdict:
        """Return the verdict on a function; nothing is printed or kept."""
        if not callable(function):
            return Verdict(False, self._failure(f"this is no function but {small(function)}"), written=False)
        drawn = secrets.randbelow(10**6) if seed is None else seed
        cases = list(self.cases(np.random.default_rng(drawn)))
        seen: set[str] = set()
        watched = {f.__code__: f"hvae_tutorial's {f.__qualname__}" for f in self.replaces}
        watched[self.solution.__code__] = "the reference solution"
        answers: list[Any] = []
        first: tuple[int, str] | None = None
        end = time.monotonic() + seconds
        for number, case in enumerate(cases):
            with seeded(drawn, number):
                answer, problem = self._ask(case, function, end, seconds, watched, seen)
            answers.append(answer)
            if isinstance(answer, Raised) and issubclass(answer.kind, NotImplementedError):
                return Verdict(False, f"{self.id} {self.title}: not written yet.", written=False)
            if problem and first is None:
                first = number, problem
            if isinstance(answer, GivenUp):
                break
        note = f"\n  Note: it calls {', '.join(sorted(seen))}; the exercise is to write this." if seen else ""
        if first is None:
            repeat = f"seed {drawn}" if seed is None else f"seed {drawn}, given: not counted"
            text = f"{self.id} {self.title}: passed, {len(cases)} checks: {self.checked} ({repeat})."
            return Verdict(True, textwrap.fill(text, WIDTH, subsequent_indent="  ") + note)
        cause = self._diagnose(cases, answers, drawn)
        says = cause.says if cause else relation(cases[: len(answers)], answers)
        where = f"check {first[0] + 1} of {len(cases)}, {self._shown(cases[first[0]])}"
        text = self._failure(first[1], where=where, cause=says, seed=drawn)
        return Verdict(False, text + note, cause=cause)

    def _ask(
        self,
        case: Case,
        function: Callable[..., Any],
        end: float,
        seconds: float,
        watched: dict[CodeType, str],
        seen: set[str],
    ) -> tuple[Any, str | None]:
        """Return the answer to a case, and what is wrong with it."""
        args = copied(case.args)
        answer = call(lambda: case.ask(function, args), end - time.monotonic(), watched, seen)
        if isinstance(answer, GivenUp):
            at = f"; it was at\n{textwrap.indent(answer.lines, '    ')}" if answer.lines else ""
            return answer, f"no answer within {seconds:g} s for all checks: too slow, or an endless loop{at}"
        if isinstance(answer, Raised):
            if issubclass(answer.kind, Refused):
                return answer, answer.message
            lines = f"\n{textwrap.indent(answer.lines, '    ')}" if answer.lines else ""
            return answer, f"it raises {answer}{lines}"
        names = list(inspect.signature(self.solution).parameters)
        for name, before, after in zip(names, case.args, args, strict=False):
            if isinstance(before, Tensor) and not torch.equal(before.nan_to_num(), after.detach().nan_to_num()):
                return answer, f"it changes its argument {name} in place (an operation such as += or sub_)"
        return answer, case.judge(answer)

    def _diagnose(self, cases: list[Case], answers: list[Any], seed: int) -> Mistake | None:
        """Return the known mistake that agrees with all answers."""
        for mistake in self.mistakes:
            agrees = True
            for number, (case, answer) in enumerate(zip(cases, answers, strict=False)):
                if isinstance(answer, GivenUp):
                    agrees = False
                    break
                with seeded(seed, number):
                    agrees = same(case, answer, outcome(case, mistake.function, copied(case.args)))
                if not agrees:
                    break
            if agrees:
                return mistake
        return None

    def _shown(self, case: Case) -> str:
        names = inspect.signature(self.solution).parameters
        return ", ".join(f"{name} = {small(given)}" for name, given in zip(names, case.args, strict=True))

    def _failure(self, problem: str, *, where: str = "", cause: str | None = None, seed: int | None = None) -> str:
        lines = [f"{self.id} {self.title}: not yet."]
        if where:
            lines.append(_wrapped(f"At {where}:"))
        lines += [_wrapped(line) if line[:1] != " " else line for line in problem.splitlines()]
        if cause:
            lines.append(_wrapped(f"Likely cause: {cause} (It explains all of your answers.)"))
        lines.append(f'  Next: exercises.hint("{self.id}"), or in a terminal hvae exercise hint {self.id}')
        if seed is not None:
            lines.append(f"  The same numbers again: seed={seed}")
        return "\n".join(lines)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


def needed_imports(exercises: Sequence[Exercise], *others: str) -> str:
    """Return the imports that stubs and solutions need, of those at the head of the exercises' file, and others."""
    (module,) = {inspect.getmodule(exercise.solution) for exercise in exercises}
    assert module is not None
    sources = [source for exercise in exercises for source in (exercise.solution_source, exercise.given_source)]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    lines = list(others)
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
            if node.names:
                lines.append(_import(node))
    groups: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for line in sorted(lines, key=lambda line: (line.startswith("from"), line.split()[1])):
        top = line.split()[1].partition(".")[0]
        groups[0 if top in sys.stdlib_module_names else 2 if top == "hvae_tutorial" else 1].append(line)
    return "\n\n".join("\n".join(group) for group in groups.values() if group)


def _import(node: ast.Import | ast.ImportFrom) -> str:
    """Return an import as text, with one name a line if it would not fit into one."""
    line = ast.unparse(node)
    if len(line) <= 120:
        return line
    head, names = line.split(" import ")
    return "\n    ".join([f"{head} import (", *(f"{name}," for name in names.split(", "))]) + "\n)"


def copied(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments whose tensors are copies."""
    return tuple(arg.detach().clone() if isinstance(arg, Tensor) else arg for arg in args)


@contextmanager
def seeded(seed: int, number: int) -> Iterator[None]:
    """Seed PyTorch's generator for one call, and NumPy's old one; put both back after it."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * seed + number)
        np.random.seed((1000 * seed + number) % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
