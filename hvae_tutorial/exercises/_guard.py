"""Calling a function that may be wrong in any way: it raises, never returns, or returns anything at all.

A call runs in a daemon thread, so that it can be given up after a time limit; this works on every system and in
Jupyter, where signals do not. What is given up is also asked to stop, by an exception that CPython raises in the thread
at its next line of Python; code that never returns to Python runs on until its process ends.
"""

import ctypes
import linecache
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

# Folders of what a learner has not written: Python's own libraries and those installed, and this one.
_LIBRARIES = (
    *(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).resolve().parents[1]),
)
_FRAMES = 4  # of a traceback, the innermost


@dataclass(frozen=True)
class Raised:
    """A call that raised: the exception's type, its message, and the lines that led there."""

    kind: type[BaseException]
    message: str
    lines: str

    def __str__(self) -> str:
        return f"{self.kind.__name__}: {self.message}".rstrip(": ")


@dataclass(frozen=True)
class GivenUp:
    """A call that had not returned when its time was over, and the line it was in."""

    seconds: float
    lines: str


class _Stop(BaseException):
    """Raised in a thread whose result nobody waits for."""


def call(
    function: Callable[[], Any], seconds: float, watched: Mapping[CodeType, str], seen: set[str]
) -> Any | Raised | GivenUp:
    """Return what `function()` returns, or how it failed.

    Args:
        function: Called without arguments.
        seconds: How long to wait for it.
        watched: Names of functions by their code: those called go into `seen`, however they were imported.
        seen: Added to.
    """
    results: list[Any] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in watched:
            seen.add(watched[frame.f_code])

    def run() -> None:
        sys.setprofile(profile if watched else None)
        try:
            results.append(function())
        except _Stop:
            return
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: nothing escapes
            results.append(Raised(type(error), str(error), _lines(traceback.extract_tb(error.__traceback__))))
        finally:
            sys.setprofile(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        thread.join(max(seconds, 0.0))
    except KeyboardInterrupt:
        _stop(thread)
        raise
    if results:
        return results[0]
    frame = sys._current_frames().get(thread.ident or 0)
    lines = _lines(traceback.extract_stack(frame)) if frame else ""
    _stop(thread)
    return GivenUp(seconds, lines)


def _stop(thread: threading.Thread) -> None:
    """Ask a thread to end; it may catch the first requests."""
    for _ in range(5):
        if not thread.is_alive():
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Stop))
        thread.join(0.05)
        time.sleep(0)


def _lines(stack: traceback.StackSummary) -> str:
    """Return the lines of a stack that are the learner's, outermost first; nothing if there are none."""
    own = [entry for entry in stack if _is_learners(entry.filename)][-_FRAMES:]
    shown = []
    for entry in own:
        linecache.checkcache(entry.filename)
        text = (entry.line or "").strip()
        shown.append(f"line {entry.lineno}, in {entry.name}: {text}".rstrip(": "))
    return "\n".join(shown)


def _is_learners(filename: str) -> bool:
    return not filename.startswith("<frozen") and not str(Path(filename).resolve()).startswith(_LIBRARIES)
