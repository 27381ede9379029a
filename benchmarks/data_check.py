"""Does `halftrack data check` keep its promise: where it says well, training and testing go on?

Damages so many trees of each layout, lets check look at each of them, then reads and scores all of
it as training and testing do, without models (``tests/tools/promise.py``). Exit code 1 means that
the promise was broken; each case is printed, and ``--seed`` gives others.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tools"))

from promise import Tally, verdicts
from small_layouts import LAYOUTS, Layout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trees", type=int, default=500, help="of each layout")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    alarms: Counter[str] = Counter()
    broken = 0
    print(
        "| layout | trees | said well | of these stopped | problems | of these nothing stops | s |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for layout in LAYOUTS:
        start = time.perf_counter()
        tally, cases = look(layout, arguments.trees, arguments.seed)
        seconds = time.perf_counter() - start
        counts = (tally.trees, tally.well, tally.stopped, tally.problems, tally.alarms.total())
        print(f"| {layout.name} | {' | '.join(map(str, counts))} | {seconds:.0f} |", flush=True)
        print("".join(f"\nBROKEN: {case}\n" for case in cases), end="", flush=True)
        alarms += tally.alarms
        broken += len(cases)
    print("\nproblems at which nothing stops, the most frequent:")
    for kind, count in alarms.most_common(25):
        print(f"{count:5} {kind}")
    sys.exit(1 if broken else 0)


def look(layout: Layout, trees: int, seed: int) -> tuple[Tally, list[str]]:
    """Counts of a layout's trees, and the cases in which the promise was broken."""
    tally, cases = Tally(), []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        for each in verdicts(layout, trees, Path(folder), seed=seed):
            tally.add(each)
            if each.broken is not None:
                cases.append(each.broken.replace(folder, ""))
    return tally, cases


if __name__ == "__main__":
    main()
