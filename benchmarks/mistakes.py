"""How long each deliberate mistake takes until it is told: a process each, as a user starts it.

The table is the tests' (``tests/tools/mistakes.py``). Time is told twice: by the clock, which on a
busy machine counts what others do, and by the process's own use of the processor.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/tools"))

from mistake import faults_of, set_up
from mistaken_interop import set_up_interop
from mistakes import MISTAKES

LIMIT = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="run each Nth mistake")
    parser.add_argument("--only", default="", metavar="TEXT", help="run those with it in the name")
    asked = parser.parse_args()
    names = [name for name in MISTAKES if asked.only in name][:: asked.every]
    table = {name: MISTAKES[name] for name in names}
    clock: dict[str, float] = {}
    computing: dict[str, float] = {}
    wrong = []
    for name, mistake in table.items():
        with tempfile.TemporaryDirectory() as folder:
            set_up(Path(folder))
            set_up_interop(Path(folder))
            before, start = used(), time.perf_counter()
            found = subprocess.run(
                [sys.executable, "-m", "halftrack", *mistake.arguments],
                cwd=folder,
                env=os.environ | {"COLUMNS": "300"},
                capture_output=True,
                text=True,
                check=False,
            )
            clock[name], computing[name] = time.perf_counter() - start, used() - before
        faults = faults_of(mistake, found.returncode, found.stderr)
        faults += ["it drew"] * bool(found.stdout)
        if faults:
            wrong.append(f"{name}: {faults}")
    for what, seconds in (("clock", clock), ("computing", computing)):
        slow = {name: each for name, each in seconds.items() if each > LIMIT}
        print(
            f"{what}: median {statistics.median(seconds.values()):.2f} s, {len(slow)} of "
            f"{len(seconds)} over {LIMIT:g} s, slowest {max(seconds.values()):.2f} s"
        )
        for name in sorted(slow, key=slow.__getitem__, reverse=True):
            print(f"  {slow[name]:.2f} s  {name}")
    print(f"{len(table) - len(wrong)} of {len(table)} handled")
    print("\n".join(wrong))


def used() -> float:
    """Seconds that processes started here and ended have computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
