"""Cost of fp32 islands: the memory that a training step with them needs on top."""

from __future__ import annotations

from dataclasses import replace

from halftrack.precision import Precision
from halftrack.recipes import TrainedRecipe
from halftrack.studies.memory.step import predicted_step

__all__ = ["island_cost"]


def island_cost(
    recipe: TrainedRecipe, keep_fp32: tuple[str, ...], *, epoch: int = 0, objects: int = 50
) -> int:
    """Predicted peak live bytes of an fp16 step with these islands, less those without any.

    Less than 0 where half precision would hold both a half tensor and its fp32 copy, as between a
    convolution and a norm that computes in fp32.

    Args:
        recipe: with what only the data can tell filled in; the islands it has are left out.
        keep_fp32: the islands, as ``Precision.keep_fp32`` takes them.
        epoch: 0-based; decides which parameters train.
        objects: boxes to learn in each frame of a detector.

    Raises:
        ValueError: if one of them matches no module.
    """

    def peak(islands: tuple[str, ...]) -> int:
        # Any loss scale does: it does not change what is held.
        kept = replace(recipe, precision=Precision("fp16", 1.0, islands))
        return predicted_step(kept, epoch=epoch, objects=objects).peak

    return peak(keep_fp32) - peak(())
