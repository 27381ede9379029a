"""Exact resume: killed with -9 at random steps, with other worker counts, against an unbroken run.

The line to be shown: killed five times in one run, the final weights are equal bit for bit.

    python benchmarks/resume.py --data-root SYNTHETIC --out runs/resume
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import newest_checkpoint


def command(args: argparse.Namespace, out: Path, *, workers: int) -> list[str]:
    """One ``halftrack train`` that logs every step and checkpoints often enough to be killed."""
    settings = {
        "training.workers": workers,
        "training.log_every": 1,
        "training.checkpoint_every": args.checkpoint_every,
    }
    base = [args.halftrack, "train", args.recipe, "--data-root", str(args.data_root)]
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return [*base, "--out", str(out), *sets, *args.extra]


def last_step(out: Path) -> int:
    """The newest step in the log; a line that is being written does not count yet."""
    log = out / "log.jsonl"
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return max((row["step"] for row in map(json.loads, lines) if "step" in row), default=0)


def logged_steps(out: Path) -> list[int]:
    """Steps of the log's lines with losses, in their order."""
    rows = [json.loads(row) for row in (out / "log.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if row["mode"] == "train" and "loss" in row]


def run_until(line: list[str], out: Path, step: int | None, *, limit: float) -> int:
    """Run a command to its end, or kill it with -9 once its log shows ``step``; its exit code."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start = time.monotonic()
    try:
        while process.poll() is None:
            if step is not None and last_step(out) >= step:
                process.send_signal(signal.SIGKILL)
                break
            if time.monotonic() - start > limit:
                raise TimeoutError(f"{' '.join(line)} took more than {limit:g} s")
            time.sleep(0.02)
        return process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of the weights that are not equal bit for bit."""
    names = sorted(set(a) | set(b))
    return [n for n in names if n not in a or n not in b or not torch.equal(a[n], b[n])]


def finished(args: argparse.Namespace, out: Path, code: int) -> dict[str, Any]:
    if code != 0:
        raise SystemExit(f"{args.recipe} in {out} ended with exit code {code}")
    return read_checkpoint(newest_checkpoint(out)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="an empty or absent folder")
    parser.add_argument("--recipe", default="selsa_tiny_sample")
    parser.add_argument("--halftrack", default=str(Path(sys.executable).with_name("halftrack")))
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 3, 0, 2])
    parser.add_argument("--checkpoint-every", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="chooses the steps to die at")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for one process")
    parser.add_argument("--extra", nargs=argparse.REMAINDER, default=[], help="for halftrack train")
    args = parser.parse_args()

    unbroken, broken = args.out / "unbroken", args.out / "killed"
    line = command(args, unbroken, workers=args.workers[0])
    expected = finished(args, unbroken, run_until(line, unbroken, None, limit=args.limit))
    total = expected["position"]["steps"]
    # A kill before the first checkpoint would leave nothing to resume.
    possible = range(args.checkpoint_every + 1, total)
    if len(possible) < args.kills:
        raise SystemExit(f"{total} steps are too few for {args.kills} kills")
    steps = sorted(random.Random(args.seed).sample(possible, args.kills))

    print("| start | workers | killed at step | resumed from |", "|---|---|---|---|", sep="\n")
    for count, step in enumerate([*steps, None]):
        workers = args.workers[count % len(args.workers)]
        resumed = newest_checkpoint(broken)[1]["position"]["steps"] if count else 0
        line = command(args, broken, workers=workers)
        code = run_until(line, broken, step, limit=args.limit)
        reached = last_step(broken)
        print(f"| {count} | {workers} | {reached if step else 'ran to its end'} | {resumed} |")
        if step is not None and code != -signal.SIGKILL:
            raise SystemExit(f"start {count} was to be killed, but ended with exit code {code}")
    got = finished(args, broken, code)
    different = differences(expected["state_dict"], got["state_dict"])
    once = logged_steps(broken) == list(range(1, total + 1))
    print(f"\n{len(expected['state_dict'])} tensors, {len(different)} different: {different[:5]}")
    print(f"{total} steps, logged once each: {once}")
    return 1 if different or not once else 0


if __name__ == "__main__":
    raise SystemExit(main())
