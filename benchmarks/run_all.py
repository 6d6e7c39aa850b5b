"""Run every benchmark, one process each, in an otherwise idle machine: `make benchmark`."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("accuracy.py", "special_speed.py", "sampling.py", "laws.py", "training_step.py", "m1m2_step.py", "iwae.py")


def main() -> int:
    """Run the scripts in turn; the exit status is that of the first that fails."""
    for script in SCRIPTS:
        print(f"\n== {script}", flush=True)
        status = subprocess.call([sys.executable, str(Path(__file__).parent / script)])
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
