"""What a learner has done, in one small file of the user's data folder (or where HVAE_PROGRESS says)."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from hvae_tutorial.files import write_atomically

EMPTY: dict[str, Any] = {"tries": 0, "passed": False, "hints": 0, "asked": False}


def path() -> Path:
    """Return where the file is."""
    chosen = os.environ.get("HVAE_PROGRESS")
    return Path(chosen) if chosen else platformdirs.user_data_path("hvae_tutorial", appauthor=False) / "exercises.json"


def load() -> dict[str, dict[str, Any]]:
    """Return what is known of each exercise that was begun; a damaged file counts as none."""
    try:
        known = json.loads(path().read_text(encoding="utf-8"))
        return {str(id): {**EMPTY, **dict(entry)} for id, entry in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def of(id: str) -> dict[str, Any]:
    """Return what is known of one exercise."""
    return load().get(id, dict(EMPTY))


def tried(id: str, passed: bool) -> None:
    """Count a check; what was passed once stays so."""
    _change(id, lambda entry: entry | {"tries": entry["tries"] + 1, "passed": entry["passed"] or passed})


def hint_shown(id: str, number: int) -> None:
    """Keep how many hints were shown."""
    _change(id, lambda entry: entry | {"hints": max(entry["hints"], number)})


def asked(id: str) -> None:
    """Keep that a learner was asked for a try before the solution."""
    _change(id, lambda entry: entry | {"asked": True})


def _change(id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the entry of one exercise. Two programs take turns; where nothing can be written, nothing is kept."""
    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=5):
            known = load()
            if not known and file.exists() and file.read_bytes().strip() not in (b"", b"{}"):
                os.replace(file, f"{file}.damaged")  # not ours to throw away
            known[id] = change(known.get(id, dict(EMPTY)))
            write_atomically(file, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())
    except (OSError, TimeoutError) as error:
        print(f"  (Your progress could not be kept in {file}: {error})")
