"""How long ``halftrack --help`` and ``halftrack recipes`` take, beside importing typer and rich.

Usage: ``python benchmarks/cli_start.py [--rounds 10]``. The commands take turns, so that what else
the machine does meets all of them; figures are medians with the least and the most.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import typer, rich": ["-c", "import typer, rich"],
    "halftrack --help": ["-m", "halftrack", "--help"],
    "halftrack recipes": ["-m", "halftrack", "recipes"],
    "halftrack train --help": ["-m", "halftrack", "train", "--help"],
    "import torch": ["-c", "import torch"],
}
BASE = next(iter(COMMANDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(-1, rounds):  # the first turn fills the caches and is not counted
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds[BASE])
    print("| command | median | least | most | times the first |")
    print("|---|---|---|---|---|")
    for name, each in seconds.items():
        median = statistics.median(each)
        print(
            f"| `{name}` | {median:.2f} s | {min(each):.2f} s | {max(each):.2f} s "
            f"| {median / base:.1f} |"
        )


if __name__ == "__main__":
    main()
