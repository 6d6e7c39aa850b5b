"""Progress where there is no terminal: whole lines, now and then, in place of bars that overwrite themselves."""

import io
import time
from pathlib import Path
from typing import TextIO

# Seconds between two lines of a bar.
LINE_EVERY = 30.0


class PlainLines(io.TextIOBase):
    r"""A stream for progress bars that passes on a line every `LINE_EVERY` seconds, and every line that is no bar's.

    A bar writes "\r" before each of its states and "\n" after the last. Of the states one in a while becomes a line,
    and the last one always does.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._line = ""  # what has been written since the last end of line
        self._written = float("-inf")

    def write(self, text: str) -> int:
        """Take what a terminal would be sent; return its length."""
        *ended, self._line = (self._line + text).split("\n")
        for line in ended:
            self._pass_on(_seen(line))
        if "\r" in self._line and time.monotonic() - self._written >= LINE_EVERY:
            self._pass_on(_seen(self._line))
        return len(text)

    def _pass_on(self, line: str) -> None:
        if line:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._written = time.monotonic()

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def _seen(line: str) -> str:
    """Return what a terminal shows of a line in the end."""
    return next((state.rstrip() for state in reversed(line.split("\r")) if state.strip()), "")


def last_line(log: Path) -> str:
    """Return the last line of a log file; empty where there is none."""
    try:
        lines = log.read_text(encoding="utf-8").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")
