"""Does torch.compile shorten a training step, how long does it take, and what does it move?

    python benchmarks/compilation.py [RECIPE ...] [--mode default] [--rounds 20] [--size 192 320]

One noisy batch of each recipe, fp32, as it trains but at a rate of 0: steps of an eager and a
compiled model in turn, in CPU seconds (on a GPU: of the clock). Other work on the machine disturbs
these least with OMP_NUM_THREADS=1 and TORCHINDUCTOR_COMPILE_THREADS=1. Told too is how far the last
losses and the gradients' norm are apart.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/tools"))

import torch
from measure import machine, spread
from noise import noisy

from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.recipes.run import choose_device
from halftrack.training import Learner
from halftrack.training.compilation import Compilations
from halftrack.training.placement import placed

TINY = ["selsa_tiny_sample", "faster-rcnn_tiny_sample", "reid_tiny_sample"]
TINY += ["siamese_rpn_tiny_sample"]


def taught(recipe: TrainedRecipe, device: torch.device) -> Learner:
    """A learner as training places it."""
    config, precision = recipe.training, recipe.precision
    model = placed(recipe.build_model(seed=0), config, precision, device)
    return Learner(model, config, precision, device=device, batches_per_epoch=1)


def spent(device: torch.device) -> float:
    """CPU seconds of this process and the compilers it started; with a GPU those of the clock."""
    if device.type == "cpu":
        used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(each.ru_utime + each.ru_stime for each in used)
    torch.accelerator.synchronize()
    return time.perf_counter()


def tell(name: str, *, mode: str, rounds: int, size: tuple[int, int], device: torch.device) -> None:
    """A row of the table."""
    recipe = load_recipe(name).for_training().without_data()
    if name.startswith(("selsa", "faster")):
        recipe = override(recipe, recipe.image_fields(size))
    recipe = replace(recipe, training=replace(recipe.training, lr=0.0, accumulate=1))
    compiled = replace(recipe, training=replace(recipe.training, compile=mode))
    batch = noisy(recipe.planned_batch(objects=4)).to(device)
    learners = [taught(each, device) for each in (recipe, compiled)]
    compilations, said = Compilations(learners[1].model), list[str]()
    losses: dict[int, torch.Tensor] = {}
    norms: dict[int, float] = {}

    def step(which: int) -> None:
        terms = learners[which].gradients(batch, 0)
        losses[which] = torch.stack([v for k, v in terms.items() if k.startswith("loss")]).detach()
        norms[which] = learners[which].step().grad_norm
        learners[which].optimizer.zero_grad()

    def seconds(which: int) -> float:
        start = spent(device)
        step(which)
        return spent(device) - start

    first = seconds(1)
    compilations.tell(said.append, epoch=0)
    rows = [(seconds(0), seconds(1)) for _ in range(rounds + 2)][2:]
    apart = float((losses[1] - losses[0]).abs().max() / losses[0].abs().max())
    eager = statistics.median(row[0] for row in rows)
    norm = abs(norms[1] / norms[0] - 1)
    print(
        f"| {name} | {eager * 1e3:.0f} ms | {spread([row[1] / row[0] for row in rows])} | "
        f"{first:.0f} s, {said[0].rsplit(maxsplit=1)[1]} | {apart:.0e}, {norm:.0e} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=TINY)
    parser.add_argument("--mode", default="default")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 320))
    chosen = parser.parse_args()
    print("| recipe | eager step | compiled / eager | first step, compilations | apart |")
    print("|---" * 5 + "|")
    for name in chosen.recipes:
        tell(
            name,
            mode=chosen.mode,
            rounds=chosen.rounds,
            size=tuple(chosen.size),
            device=choose_device(None),
        )
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
