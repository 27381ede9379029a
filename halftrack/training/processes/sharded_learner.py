"""Training in processes that divide all there is of a model: weights, gradients, momentum, average.

The losses, the weights and the checkpoints are those of processes that each have the whole model.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from halftrack.precision import NonFiniteGradientError, Precision, StepReport
from halftrack.training.batches import Batch
from halftrack.training.config import TrainingConfig
from halftrack.training.learner import Learner
from halftrack.training.processes.average import DividedAverage
from halftrack.training.processes.distributed import SharedLearner, TogetherLearner
from halftrack.training.processes.divided import DividedModel
from halftrack.training.processes.sharding import move_pieces
from halftrack.training.ranks import Ranks

__all__ = ["ShardedLearner", "new_learner"]


def new_learner(
    ranks: Ranks,
    model: nn.Module,
    config: TrainingConfig,
    precision: Precision,
    device: torch.device,
    batches_per_epoch: int,
) -> Learner:
    """The learner of a process, given what a ``Learner`` takes, as its recipe divides the model."""
    settings: dict[str, Any] = {"device": device, "batches_per_epoch": batches_per_epoch}
    if ranks.size == 1:
        return Learner(model, config, precision, **settings)
    kind = ShardedLearner if config.shard == "full" else SharedLearner
    return kind(model, config, precision, ranks=ranks, **settings)


class ShardedLearner(TogetherLearner):
    """A learner that keeps a piece of the model; a part of it is whole while a pass is in it.

    Until the first epoch begins all of it is whole.

    Args:
        model: as of a ``TogetherLearner``, and so are the others; its modules run one behind the
            other.
        config: of the whole step.
        precision: of the run.
        settings: whatever else a ``TogetherLearner`` takes.

    Raises:
        ValueError: if the step's batches cannot be shared evenly, or the model cannot be divided.
    """

    def __init__(
        self, model: nn.Module, config: TrainingConfig, precision: Precision, **settings: Any
    ) -> None:
        # Of the average too this process holds its pieces alone.
        super().__init__(model, replace(config, ema_decay=None), precision, **settings)
        self._divided = self._compute = DividedModel(model, self.ranks, self._wire)
        self.parts = self._divided.parts
        move_pieces(self.optimizer, self.parts, self.ranks)
        if config.ema_decay is not None:
            self.average = DividedAverage(model, self.parts, self.ranks, decay=config.ema_decay)
        self.whole_weights = self._divided.whole
        self._before_training = ExitStack()  # in which weights may be looked at, and loaded
        self._before_training.enter_context(self.whole_weights())

    def begin_epoch(self, epoch: int) -> None:
        """Freeze and thaw what trains from this epoch on."""
        super().begin_epoch(epoch)
        self._before_training.close()
        self._divided.begin()

    def gradients(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """As of one process; what the pass adds to the gradients is summed over all processes."""
        self._any_passes(own=True)
        losses = super().gradients(batch, seed)
        self._divided.finish()
        return losses

    def step(self) -> StepReport:
        """Move this process's pieces of the weights, or no process's.

        Raises:
            NonFiniteGradientError: a gradient that no smaller loss scale can mend, in all of them.
        """
        while self._any_passes(own=False):
            self._divided.idle()
        self._give_gradients()
        try:
            return super().step()
        except NonFiniteGradientError as error:
            # The processes that have pieces know the names; one process would tell the first.
            told = [each for each in self.ranks.gathered(error) if each.parameter is not None]
            order = [name for g in self.optimizer.param_groups for name in g["param_names"]]
            raise min(told, key=lambda each: order.index(each.parameter), default=error) from None
        finally:
            for part in self.parts:
                part.gradients = None

    def _any_passes(self, *, own: bool) -> bool:
        """True if any process has one more pass in this step; each says whether it has one itself.

        Clips of sizes that differ share no pass, so that processes differ in their number.
        """
        return self._config.clips_per_pass > 1 and self.greatest(float(own)) > 0

    def _give_gradients(self) -> None:
        """Give every parameter that got a gradient in any process its piece of the sum."""
        parts, touched = self.parts, self._divided.touched
        own = [parameter in touched for part in parts for parameter in part.parameters]
        touched.clear()
        mask = torch.tensor(own, dtype=torch.uint8, device=self.device)
        anywhere = iter(self.ranks.rows(mask).amax(dim=0).tolist())
        for part in parts:
            shares = part.pieces if part.gradients is None else part.split(part.gradients)
            for piece, share in zip(part.pieces, shares, strict=True):
                piece.grad = share if next(anywhere) else None

    def _agreed(self, norm: float) -> float:
        """The norm of the whole gradients; on a CPU to the last bit that of one process.

        A last digit that differs can grow to another run, as a norm decides how far all move.
        """
        if self.device.type != "cpu":
            own = torch.tensor([norm], dtype=torch.float64, device=self.device)
            return float(self.ranks.rows(own).square().sum().sqrt().float())
        norms: dict[Tensor, Tensor] = {}
        for part in self.parts:
            if part.gradients is not None:
                for piece, summed in zip(part.pieces, part.joined(part.gradients), strict=True):
                    if piece.grad is not None:
                        norms[piece] = torch.linalg.vector_norm(summed)
        every = (piece for group in self.optimizer.param_groups for piece in group["params"])
        found = [norms[piece] for piece in every if piece in norms]
        return float(torch.linalg.vector_norm(torch.stack(found))) if found else 0.0

    def end(self) -> None:
        """Leave the model with all its weights, undivided. All processes must call it."""
        self._before_training.close()
        self._divided.join()

    def state_dict(self) -> dict[str, Any]:
        """State of all parts in rank 0, as one process has it. All processes must call it."""
        with self.whole_weights():
            state = super().state_dict()
        # The weights that were whole live on in the state, until it is copied and let go.
        return state if self.ranks.is_first else state | {"state_dict": {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the whole state was taken, by any number of processes.

        Raises:
            ValueError: if its loss scale is of another kind, or only one of the two has an average.
        """
        with self.whole_weights():
            super().load_state_dict(state)
