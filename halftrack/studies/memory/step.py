"""Memory of one training step of a recipe: measured, or predicted, without a GPU.

A prediction is the same step of the same model on tensors without values, under the same meter: a
measurement less the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD

from halftrack.frames import Frame
from halftrack.models.matching import Draws
from halftrack.models.roi_head import RoIHead, SampledRoIs, Sampler
from halftrack.precision import LiveBytes, Precision, ShapesOnly
from halftrack.recipes import TrainedRecipe, spread_boxes
from halftrack.rehearsing.planned import fill_state
from halftrack.training import Batch, Learner, TrainingConfig
from halftrack.training.loop import steps
from halftrack.training.optimiser import apply_phases
from halftrack.training.processes.divided import fullest
from halftrack.training.processes.sharded_learner import ShardedLearner
from halftrack.training.processes.sharding import divided, shard_momentum
from halftrack.training.ranks import Ranks

__all__ = ["metered_step", "predicted_step", "resting_learner", "step_memory"]

_CPU = torch.device("cpu")


def step_memory(recipe: TrainedRecipe, data_root: Path) -> int:
    """Peak live bytes of a training step on the data's first pass."""
    recipe = recipe.settled(data_root)
    source = recipe.training_source(data_root)
    together = recipe.training.clips_per_pass
    batches = source.batches(seed=0, epoch=0, places=range(together), workers=0, pin=False)
    one_pass = replace(recipe.training, accumulate=together)
    (batch, _), *_ = next(steps(((each.to(_CPU), 0) for each in batches), one_pass))
    return metered_step(resting_learner(recipe, recipe.build_model()), batch).peak


def resting_learner(
    recipe: TrainedRecipe, model: nn.Module, *, epoch: int = 0, gpus: int = 1
) -> Learner:
    """A learner on the CPU in the middle of a run, whose steps leave the weights as they are.

    The optimizer has its state and, where a step takes several passes, the gradients of an earlier
    one, or the piece of them that is kept; several GPUs that each have the whole model keep
    gradients all the time. Weights move as on a GPU, all at once: copies that takes are counted.

    Args:
        recipe: its precision and how weights move.
        model: with the weights to keep.
        epoch: 0-based; decides which parameters train.
        gpus: how many share a step; the learner is that of the one that holds most.
    """
    config = replace(recipe.training, lr=0.0, sync_batch_norm=False)  # which changes no size
    if gpus > 1 and config.shard == "full":
        return _resting_with_pieces(model, config, recipe.precision, epoch, gpus)
    learner = Learner(model, config, recipe.precision, device=_CPU, batches_per_epoch=1)
    learner.begin_epoch(epoch)
    if gpus > 1 and config.shard == "optimizer":
        shard_momentum(learner.optimizer, _fullest(learner.optimizer, gpus))
    fill_state([learner.optimizer])
    if gpus == 1 and not config.accumulates:
        learner.optimizer.zero_grad(set_to_none=True)
    return learner


def _resting_with_pieces(
    model: nn.Module, config: TrainingConfig, precision: Precision, epoch: int, gpus: int
) -> Learner:
    """The learner of one of several GPUs that divide everything."""
    apply_phases(model, config.phases, epoch)
    one = _OneOfSeveral(fullest(model, gpus), gpus)
    learner = ShardedLearner(
        model, config, precision, ranks=one, device=_CPU, batches_per_epoch=gpus
    )
    learner.begin_epoch(epoch)
    fill_state([learner.optimizer])
    learner.optimizer.zero_grad(set_to_none=True)
    if config.accumulate > config.clips_per_pass * gpus:
        for part in learner.parts:
            if part.trains:
                part.gradients = torch.zeros_like(part.held)
                for piece, share in zip(part.pieces, part.split(part.gradients), strict=True):
                    piece.grad = share  # by which a meter knows them
    return learner


def metered_step(learner: Learner, batch: Batch) -> LiveBytes:
    """The meter around a batch and the step after it."""
    copies = [*learner.average.tensors, *learner.statistics.kept]
    with LiveBytes(learner.model, [learner.optimizer], copies=copies) as meter:
        learner.gradients(batch, seed=0)
        learner.step()
    return meter


class _OneOfSeveral(Ranks):
    """One process without the others, whose values it takes for its own."""

    def broadcast(self, values: Tensor, *, of: int) -> Tensor:
        return values

    def greatest(self, value: float, device: torch.device) -> float:
        return value

    def rows(self, row: Tensor) -> Tensor:
        return row.expand(self.size, -1)

    def joined(self, piece: Tensor) -> Tensor:
        return piece.new_empty(self.size * len(piece))

    def summed_piece(self, own: Tensor, wire: torch.dtype | None = None) -> Tensor:
        sent = own if wire is None else own.to(wire)
        return torch.empty_like(sent[: len(own) // self.size]).to(own.dtype)


def _fullest(optimizer: SGD, gpus: int) -> Ranks:
    """The process that holds the most momentum of what trains."""
    parts = divided(optimizer, gpus)
    sizes = [sum(p.nbytes for p in part if p.requires_grad) for part in parts]
    return _OneOfSeveral(sizes.index(max(sizes)), gpus)


def predicted_step(
    recipe: TrainedRecipe, *, epoch: int = 0, objects: int = 50, gpus: int = 1
) -> LiveBytes:
    """The meter after a step at the recipe's largest sizes that nobody computed.

    Where values decide how many there are of something (proposals, sampled rois), there are as many
    as there can be.

    Args:
        recipe: with what only the data can tell filled in.
        epoch: 0-based; decides which parameters train.
        objects: boxes to learn in each frame of a detector.
        gpus: how many share a step; the one that holds most is predicted.
    """
    shapes = ShapesOnly()
    with shapes.making():
        model = recipe.build_model()
    learner = resting_learner(recipe, model, epoch=epoch, gpus=gpus)
    for module in model.modules():
        if isinstance(module, RoIHead):
            module.sampler = _PlacedSampler(module.sampler)
    batch = recipe.planned_batch(objects=objects, forget=shapes.forget)
    with shapes:
        return metered_step(learner, batch)


@dataclass(frozen=True)
class _PlacedSampler:
    """Gives rois without values a place, which decides the map of a pyramid they are read from."""

    sampler: Sampler

    def __call__(
        self, proposals_xyxy: Sequence[Tensor], frames: Sequence[Frame], draws: Draws = None
    ) -> SampledRoIs:
        rois = self.sampler(proposals_xyxy, frames, draws)
        places = [
            spread_boxes(count, frame.size)
            for count, frame in zip(rois.counts, frames, strict=True)
        ]
        return replace(rois, boxes_xyxy=torch.cat(places))
