"""Writing files so that a reader never meets a half-written one."""

import os
import time
import uuid
from pathlib import Path

# Windows renames over no file that a reader or a virus scanner has open: seconds to wait before each new try.
WAITS = (0.01, 0.03, 0.1, 0.3, 1.0)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write `content` to `path` at once: after a crash the file is the old one or the new one, never a part of either.

    The bytes go to a temporary file in the same folder (which is made if it is missing), are flushed to the disk, and
    the file is then renamed over `path`, which POSIX and Windows both do in one step.

    Raises:
        OSError: if the folder cannot be made or written to; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two writers of one path, on one machine or on two that share the folder, do not meet: the last wins, with a whole
    # file. What a killed writer leaves is known by the name that it begins with.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rename(old: Path, new: Path) -> None:
    for seconds in WAITS:
        try:
            os.replace(old, new)
            return
        except PermissionError:
            time.sleep(seconds)
    os.replace(old, new)
