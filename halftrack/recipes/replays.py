"""A skipped step run again from its replay bundle: is its culprit still the one recorded?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from halftrack.errors import UserError
from halftrack.precision import Culprit
from halftrack.precision.loss_scale import scale_words
from halftrack.recipes.kinds.recipe import Recipe
from halftrack.recipes.kinds.renamed import refuse_old_names
from halftrack.recipes.kinds.trained import TrainedRecipe
from halftrack.recipes.run import choose_device
from halftrack.training.files.bundle import ReplayBundle, read_bundle
from halftrack.training.optimiser import apply_phases
from halftrack.training.placement import placed
from halftrack.training.skipped import explain

__all__ = ["Replay", "replay"]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Result of running a skipped step again."""

    bundle: ReplayBundle
    """The step as it was kept."""
    found: Culprit | None
    """Culprit that was found now; None if all gradients are finite."""

    @property
    def same(self) -> bool:
        """True if the culprit is the recorded one."""
        return self.found == self.bundle.culprit

    def lines(self) -> list[str]:
        """Lines about what was found, for people."""
        bundle = self.bundle
        recorded, found = bundle.culprit, self.found
        place = f"step {bundle.step}, epoch {bundle.epoch + 1}, {bundle.precision.name}"
        lines = [
            f"{bundle.recipe['name']}: {place} at loss scale {scale_words(bundle.loss_scale)}",
            f"found: {found or 'nothing, its gradients are finite'}",
        ]
        if self.same:
            return [*lines, "the same as recorded"]
        return [*lines, f"recorded: {recorded or 'nothing, its gradients were finite'}"]


def replay(folder: str | Path, *, device: torch.device | str | None = None) -> Replay:
    """Rebuild the model of a replay bundle and run its step again, exactly.

    Args:
        folder: the bundle.
        device: where to run it; where it was run before, if left out.

    Raises:
        FileNotFoundError: if there is no bundle.
        ValueError: if it cannot be read, is of a kind of recipe that is not
            loaded or of another version, or this machine lacks the device.
    """
    bundle = read_bundle(Path(folder), lambda values: _recipe(values, folder).batch_types)
    device = choose_device(device or bundle.device)
    recipe = _recipe(bundle.recipe, folder)
    model = placed(recipe.build_model(), recipe.training, bundle.precision, device)
    bundle.precision.keep_in_fp32(model)
    apply_phases(model, recipe.training.phases, bundle.epoch)
    try:
        model.load_state_dict(bundle.weights)
    except RuntimeError as error:  # its first line names the model alone
        lines = [line.strip() for line in str(error).splitlines()]
        raise UserError(
            f"{folder} is of another version: its weights do not fit {recipe.name}: "
            f"{' '.join(lines[1:2])}"
        ) from error
    found = explain(
        model,
        [batch.to(device) for batch in bundle.batches],
        bundle.seeds,
        precision=bundle.precision,
        loss_scale=bundle.loss_scale,
        device=device,
    )
    return Replay(bundle=bundle, found=found)


def _recipe(values: Mapping[str, Any], folder: str | Path) -> TrainedRecipe:
    try:
        recipe = Recipe.from_dict(values)
    except UserError:
        refuse_old_names(values, str(folder))
        raise
    return recipe.for_training()
