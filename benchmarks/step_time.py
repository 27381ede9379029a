"""Time of a training step of the tiny recipes, in two checkouts side by side, and what takes it.

    python benchmarks/step_time.py --against CHECKOUT [--rounds 6] [--steps 5]
    python benchmarks/step_time.py --profile

One process for each checkout, with one thread as in the quickstart, and they take their steps in
turns, on the same batches. What is measured is the processor's time, not the clock's: other
programs hardly change it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.recipes import load_recipe
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training import Learner
from halftrack.training.loop import batch_seed

ROOT = Path(__file__).parents[1]
RECIPES = {
    "selsa_tiny_sample": "vid",
    "faster-rcnn_tiny_sample": "mot",
    "reid_tiny_sample": "mot",
    "siamese_rpn_tiny_sample": "sot",
}
PRECISIONS = ("fp32", "fp16")
BATCHES = 12
# Ops by what they belong to: the first whose part is in an op's name.
KINDS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("::convolution",),
    "norms": ("batch_norm", "group_norm"),
    "RoIAlign, backward": ("roi_align_backward", "roi_align_gradient"),
    "RoIAlign, forward": ("roi_align",),
    "suppression": ("nms",),
    "matrix products": ("::mm", "addmm", "bmm"),
    "ReLU and pooling": ("relu", "threshold_backward", "max_pool2d"),
    "casts": ("_to_copy",),
    "optimizer, norm, clip": ("_fused_sgd", "_foreach_"),
}


class Run:
    """A recipe's training, step by step."""

    def __init__(self, name: str, precision: str, data_root: str) -> None:
        recipe = load_recipe(name).with_precision(precision).settled(data_root)
        source = recipe.training_source(data_root)
        device = torch.device("cpu")
        model = recipe.build_model(seed=0)
        try:
            from halftrack.training.placement import placed
        except ImportError:  # an older checkout
            model.train()
        else:
            model = placed(model, recipe.training, recipe.precision, device)
        self._learner = Learner(
            model, recipe.training, recipe.precision, device=device, batches_per_epoch=len(source)
        )
        self._learner.begin_epoch(0)
        self._batches = list(islice(source.batches(seed=0, epoch=0), BATCHES))
        self._steps = 0

    def step(self) -> float:
        """Take the next step; returns its seconds of processor time."""
        number, self._steps = self._steps, self._steps + 1
        start = time.process_time()
        self._learner.gradients(self._batches[number % BATCHES], batch_seed(0, 0, number))
        self._learner.step()
        return time.process_time() - start


class Ops(TorchDispatchMode):
    """Seconds of processor time of each op; what ops within ops take counts once."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()
        self._within = [0.0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._within.append(0.0)
        start = time.process_time()
        result = func(*args, **(kwargs or {}))
        spent = time.process_time() - start
        self.seconds[func.name()] += spent - self._within.pop()
        self._within[-1] += spent
        return result


class Stepper(Protocol):
    """A process that takes steps."""

    def __call__(self, steps: int) -> list[float]:
        """Seconds of each of so many steps."""


@contextmanager
def stepping(checkout: Path, name: str, precision: str, data_root: Path) -> Iterator[Stepper]:
    """A run in a process of its own with a checkout's code."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", name, precision, str(data_root)],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def steps(count: int) -> list[float]:
        stdin.write(f"{count}\n")
        stdin.flush()
        seconds: list[float] = json.loads(stdout.readline())
        return seconds

    try:
        yield steps
    finally:
        stdin.close()
        process.wait()


def serve(name: str, precision: str, data_root: str) -> None:
    """Take as many steps as each line asks for, and print their seconds."""
    torch.set_num_threads(1)
    run = Run(name, precision, data_root)
    for line in sys.stdin:
        print(json.dumps([run.step() for _ in range(int(line))]), flush=True)


def compare(against: Path, data: dict[str, Path], *, rounds: int, steps: int) -> None:
    """Print a row for each recipe and precision."""
    print(f"| recipe | precision | ms there | ms here | times faster ({rounds} rounds) |")
    print("|---|---|---|---|---|")
    for name, layout in RECIPES.items():
        for precision in PRECISIONS:
            with ExitStack() as stack:
                pair = [
                    stack.enter_context(stepping(checkout, name, precision, data[layout]))
                    for checkout in (against, ROOT)
                ]
                for run in pair:
                    run(3)
                rows = [[statistics.median(run(steps)) for run in pair] for _ in range(rounds)]
            there, here = (statistics.median(column) * 1e3 for column in zip(*rows, strict=True))
            ratios = [a / b for a, b in rows]
            print(
                f"| {name} | {precision} | {there:.1f} | {here:.1f} | "
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |",
                flush=True,
            )


def profile(data: dict[str, Path], *, steps: int) -> None:
    """Print the share of a step that each kind of op takes, a column for each run."""
    torch.set_num_threads(1)
    columns: dict[str, dict[str, float]] = {}
    for name, layout in RECIPES.items():
        for precision in PRECISIONS:
            run = Run(name, precision, str(data[layout]))
            for _ in range(3):
                run.step()
            plain = statistics.median(run.step() for _ in range(3 * steps))
            with Ops() as ops:
                for _ in range(3 * steps):
                    run.step()
            column = dict.fromkeys([*KINDS, "other ops"], 0.0)
            for op, seconds in ops.seconds.items():
                kinds = (kind for kind, parts in KINDS.items() if any(p in op for p in parts))
                column[next(kinds, "other ops")] += seconds / (3 * steps) / plain
            column["Python and dispatch"] = 1 - sum(column.values())
            columns[f"{name} {precision}"] = column
    print(f"| | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for kind in next(iter(columns.values())):
        shares = " | ".join(f"{column[kind]:.1%}" for column in columns.values())
        print(f"| {kind} | {shares} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(*given.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = {layout: Path(folder) / layout for layout in set(RECIPES.values())}
        for layout, root in data.items():
            films = SyntheticVideo(layout=layout, train_videos=8, val_videos=1)  # type: ignore[arg-type]
            write_synthetic(root, films)
        if given.against:
            compare(given.against.resolve(), data, rounds=given.rounds, steps=given.steps)
        if given.profile:
            profile(data, steps=given.steps)


if __name__ == "__main__":
    main()
