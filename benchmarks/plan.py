"""Predicted against measured peaks of training steps, and the seconds that predictions take.

    python benchmarks/plan.py

Four recipes at two image sizes in three precisions. Measured is the same step, computed on this CPU
with deterministic weights; non-maximum suppression is lifted in both, so that there are as many
proposals as the recipe allows, which a prediction takes and untrained weights would not leave.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from measure import golden_weights, machine

from halftrack.precision import LiveBytes, Precision
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.studies.memory.plan import plan_memory
from halftrack.studies.memory.step import metered_step, predicted_step, resting_learner

OBJECTS = 20
PRECISIONS = (Precision(), Precision("bf16"), Precision("fp16", 1.0))
UNSUPPRESSED = "model.rpn.nms_iou=1.0"
SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"


@dataclass(frozen=True)
class Case:
    """A recipe, and what its deterministic weights are made from."""

    recipe: str
    weights: tuple[str, str]
    sizes: tuple[tuple[int, int], ...]
    setting: str
    epoch: int = 0

    def sized(self, size: tuple[int, int], precision: Precision) -> TrainedRecipe:
        """The recipe at a height and width."""
        recipe = override(trained(self.recipe), [self.setting])
        return replace(override(recipe, recipe.image_fields(size)), precision=precision)

    def measured(self, recipe: TrainedRecipe) -> LiveBytes:
        """The meter after the step was computed."""
        model = recipe.build_model()
        golden_weights(model, *self.weights)
        learner = resting_learner(recipe, model, epoch=self.epoch)
        torch.manual_seed(0)
        return metered_step(learner, recipe.planned_batch(objects=OBJECTS))


DETECTOR = "faster-rcnn_r50_fpn_4e_mot17-half"
SIAMESE = "siamese_rpn_r50_20e_lasot"
REGIONS = ((255, 255), (287, 287))
CASES = (
    Case(SELSA, ("selsa_state_dict.json", "vid"), ((320, 512), (608, 1008)), UNSUPPRESSED),
    Case(
        DETECTOR,
        ("faster_rcnn_fpn_state_dict.json", "det"),
        ((320, 512), (608, 1088)),
        UNSUPPRESSED,
    ),
    Case(
        "resnet50_b32x8_MOT17",
        ("reid_r50_state_dict.json", "reid"),
        ((128, 64), (256, 128)),
        "model.num_identities=380",
    ),
    Case(SIAMESE, ("siamrpn_state_dict.json", "sot"), REGIONS, "data.pairs_per_batch=4"),
    Case(SIAMESE, ("siamrpn_state_dict.json", "sot"), REGIONS, "data.pairs_per_batch=4", epoch=10),
)


def trained(name: str) -> TrainedRecipe:
    """The recipe of that name, which has a training step."""
    return load_recipe(name).for_training()


def main() -> None:
    print("| recipe | image | precision | predicted (MiB) | measured (MiB) | ratio | took (s) |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        for size in case.sizes:
            for precision in PRECISIONS:
                recipe = case.sized(size, precision)
                start = time.perf_counter()
                predicted = predicted_step(recipe, epoch=case.epoch, objects=OBJECTS).peak
                middle = time.perf_counter()
                measured = case.measured(recipe).peak
                took = f"{middle - start:.1f} / {time.perf_counter() - middle:.1f}"
                epoch = f", epoch {case.epoch + 1}" if recipe.training.phases else ""
                print(
                    f"| {case.recipe}{epoch} | {size[0]}x{size[1]} | {precision.name} "
                    f"| {predicted / 2**20:.1f} | {measured / 2**20:.1f} "
                    f"| {predicted / measured:.4f} | {took} |",
                    flush=True,
                )
    for name in (SELSA, DETECTOR, SIAMESE):
        for memory in (None, 11 * 10**9):
            seconds = plan_memory(trained(name), gpu_memory=memory).seconds
            print(f"plan of {name}, GPU memory {memory}: {seconds:.0f} s", flush=True)
    print(machine())


if __name__ == "__main__":
    main()
