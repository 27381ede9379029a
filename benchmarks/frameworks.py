"""Trainers of other frameworks, rehearsed: do they take the steps of a plain loop?

    pip install halftrack[lightning,transformers]
    python benchmarks/frameworks.py

Runs every script of ``examples/``, which train the same network on the same data, and compares each
step: loss, loss scale, whether it was skipped, the gradients' norm, and its culprit. It fails with
the first difference. The tests of the package know these frameworks by stand-ins alone.
"""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = {
    "plain_loop": "torch",
    "lightning_trainer": "lightning",
    "accelerate_loop": "accelerate",
    "transformers_trainer": "transformers",
}


def steps_of(script: str) -> list[tuple[Any, ...]]:
    """The comparable part of each step; Lightning's module holds the network as ``net``."""
    report = runpy.run_path(str(EXAMPLES / f"{script}.py"))["report"]
    return [
        (
            step.losses["loss"],
            step.loss_scale,
            step.skipped,
            step.grad_norm,
            (step.why or "").replace("net.", ""),
        )
        for step in report.steps
    ]


def main() -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(EXAMPLES))
    steps = {script: steps_of(script) for script in SCRIPTS}
    own = steps["plain_loop"]
    print("\n| script | version | steps | skipped | loss scale at the end | differences |")
    print("|---|---|---|---|---|---|")
    for script, package in SCRIPTS.items():
        pairs = list(zip(steps[script], own, strict=True))
        differing = [number for number, (a, b) in enumerate(pairs, 1) if repr(a) != repr(b)]
        skipped = sum(skip for _, _, skip, *_ in steps[script])
        named = f"| {script} | {package} {version(package)} | {len(pairs)} | {skipped} "
        print(f"{named}| {steps[script][-1][1]:g} | {len(differing)} |")
        if differing:
            first = differing[0]
            sys.exit(f"{script}, step {first}: {pairs[first - 1]}")


if __name__ == "__main__":
    main()
