"""Mutated inputs for every reader: no error but ours, nothing over 2 s of computing or 1 GiB.

The machinery and the readers are those of the tests (``tests/tools``), with more inputs.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/tools"))

import annotation_readers
import config_readers
import file_readers
import fuzzing
import run_readers
import table_readers

READERS = [
    *table_readers.READERS,
    *annotation_readers.READERS,
    *run_readers.READERS,
    *file_readers.READERS,
    *config_readers.READERS,
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--inputs", type=int, default=8000, help="of each reader; fewer of slow ones"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="names of readers")
    arguments = parser.parse_args()
    logging.disable()  # each damaged cache is told of
    print("| reader | inputs | refused | slowest, s | grown, MiB | seconds |")
    print("|---|---|---|---|---|---|")
    total = broken = 0
    for reader in READERS:
        if arguments.only and reader.name not in arguments.only:
            continue
        start = time.perf_counter()
        try:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                found = fuzzing.run(reader, arguments.inputs, seed=arguments.seed)
        except Exception:
            traceback.print_exc()
            broken += 1
            continue
        total += found.inputs
        if found.refused == found.inputs:
            print(
                f"{reader.name} refused all of its inputs: is the file good that they start from?"
            )
            broken += 1
        print(
            f"| {reader.name} | {found.inputs} | {found.refused} | {found.slowest:.2f} "
            f"| {found.grown >> 20} | {time.perf_counter() - start:.0f} |",
            flush=True,
        )
    print(f"\n{total} inputs, {broken} readers broken")


if __name__ == "__main__":
    main()
