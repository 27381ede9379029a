"""Processes killed with -9 at random moments, started again by torchrun, against undisturbed ones.

The lines to be shown: every run ends by itself, with the weights of one that nobody killed.

    python benchmarks/elastic.py --out runs/elastic [--kills 10] [--recipe faster-rcnn_tiny_sample]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import machine
from resume import differences, last_step, logged_steps

from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import newest_checkpoint
from halftrack.training.files.run_folder import holds_run

SETTINGS = ("training.accumulate=2", "training.log_every=1", "training.checkpoint_every=3")
LAYOUTS = {"selsa": "vid", "siamese": "sot"}


@contextmanager
def torchrun(args: argparse.Namespace, out: Path, *, restarts: int) -> Iterator[Any]:
    """``halftrack train`` in processes that torchrun starts; what they say goes to a file."""
    sets = [word for field in (*SETTINGS, *args.set) for word in ("--set", field)]
    how = ["--standalone", f"--nproc-per-node={args.processes}", f"--max-restarts={restarts}"]
    what = ["train", args.recipe, "--data-root", str(args.out / "data"), "--out", str(out), *sets]
    start = [sys.executable, "-m", "torch.distributed.run", *how, "-m", "halftrack", *what]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with Path(f"{out}.txt").open("w") as told:
        words = [*start, "--device", "cpu"]
        process = subprocess.Popen(words, stdout=told, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def ranks_of(agent: int) -> dict[int, int]:
    """Process numbers of torchrun's processes, by rank; Linux tells them."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            environment = (stat.parent / "environ").read_bytes() if parent == agent else b""
        except OSError:  # it has ended meanwhile
            continue
        for field in environment.split(b"\0"):
            if field.startswith(b"RANK="):
                found[int(field[5:])] = int(stat.parent.name)
    return found


def started(process: Any, count: int, *, before: set[int]) -> dict[int, int]:
    """The processes by rank, as soon as all of them are new ones; none if the run has ended."""
    while process.poll() is None:
        ranks = ranks_of(process.pid)
        if len(ranks) == count and not before & set(ranks.values()):
            return ranks
        time.sleep(0.02)
    return {}


def killed(args: argparse.Namespace, out: Path, draws: random.Random, most: int) -> int:
    """One run whose processes are killed up to ``most`` times; how often they were.

    Each kill waits for a step that was drawn and then some more seconds, so some meet the start of
    Python, some a checkpoint, some the evaluation.
    """
    done, before = 0, set[int]()
    moments = sorted(draws.randint(0, args.steps) for _ in range(most))
    with torchrun(args, out, restarts=most) as process:
        for after in moments:
            ranks = started(process, args.processes, before=before)
            rank = draws.randrange(args.processes)
            seconds = draws.uniform(0, 3 * args.length / args.steps)
            while process.poll() is None and last_step(out) < after:
                time.sleep(0.02)
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                step = last_step(out)
            os.kill(ranks[rank], signal.SIGKILL)
            since, before = time.monotonic(), set(ranks.values())
            started(process, args.processes, before=before)
            passed = time.monotonic() - since
            print(f"| {out.name} | {rank} | {step} | {newest(out)} | {passed:.1f} |", flush=True)
            done += 1
        check(process.wait(args.limit) == 0, f"{out} ended with {process.returncode}")
    return done


def newest(out: Path) -> int:
    """The step of the newest checkpoint; 0 without one."""
    if not holds_run(out):
        return 0
    return int(newest_checkpoint(out)[1]["position"]["steps"])


def check(holds: bool, otherwise: str) -> None:
    """End with an error where something to be shown is not so."""
    if not holds:
        raise SystemExit(otherwise)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="an empty or absent folder")
    parser.add_argument("--recipe", default="faster-rcnn_tiny_sample")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--most", type=int, default=4, help="kills in one run")
    parser.add_argument("--seed", type=int, default=0, help="chooses moments and ranks")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds without a kill")
    parser.add_argument("--set", action="append", default=[], help="field of the recipe")
    args = parser.parse_args()
    layout = LAYOUTS.get(args.recipe.partition("_")[0], "mot")
    video = SyntheticVideo(layout=layout, train_videos=2, val_videos=1, frames=16)
    write_synthetic(args.out / "data", video)

    whole = args.out / "undisturbed"
    with torchrun(args, whole, restarts=0) as process:
        began = time.monotonic()
        check(process.wait(args.limit) == 0, f"{whole} ended with {process.returncode}")
        args.length = time.monotonic() - began
    expected = read_checkpoint(newest_checkpoint(whole)[0])
    args.steps = steps = expected["position"]["steps"]
    print(f"{args.recipe}: {steps} steps, {args.length:.0f} s undisturbed; {machine()}\n")
    print("| run | rank killed | at step | goes on at step | started again after, s |")
    print("|---|---|---|---|---|", flush=True)

    draws, done, number = random.Random(args.seed), 0, 0
    while done < args.kills:
        out = args.out / f"killed_{number}"
        done += killed(args, out, draws, min(args.kills - done, args.most))
        number += 1
        ends = read_checkpoint(newest_checkpoint(out)[0])
        different = differences(expected["state_dict"], ends["state_dict"])
        check(not different, f"{out}: {len(different)} tensors differ: {different[:5]}")
        once = logged_steps(out) == list(range(1, steps + 1))
        check(once, f"{out}: its log does not have each step once")
        check(not list(out.glob("*.lock")), f"{out}: a lock was left")
    tensors = len(expected["state_dict"])
    print(f"\n{done} kills in {number} runs; each ended by itself, {tensors} tensors bit for bit")


if __name__ == "__main__":
    main()
