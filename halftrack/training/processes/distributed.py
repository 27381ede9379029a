"""Training in several processes that share each step: its learner and its log.

A step of ``accumulate`` batches is the same for any number of processes: each takes a part of them,
and gradients, losses and batch statistics come out as if one had taken all, one after the other.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from rich.console import Console
from torch import Tensor, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from halftrack.frames import batches_of
from halftrack.precision import Precision, StepReport
from halftrack.training.batches import Batch
from halftrack.training.config import TrainingConfig
from halftrack.training.learner import Learner
from halftrack.training.log import RunLog
from halftrack.training.processes.sharding import shard_momentum
from halftrack.training.processes.shared_norms import ReplayedStatistics, sync_norms
from halftrack.training.ranks import Ranks
from halftrack.training.sums import added_in_order

if TYPE_CHECKING:
    from torch._C._distributed_c10d import GradBucket

__all__ = ["SharedLearner", "SharedLog", "TogetherLearner", "new_log"]

RowT = TypeVar("RowT")

_WIRES = {"none": None, "fp16": torch.float16, "bf16": torch.bfloat16}


def new_log(ranks: Ranks, path: Path, **settings: Any) -> RunLog:
    """The log of a process, given what a ``RunLog`` takes."""
    make = RunLog if ranks.size == 1 else partial(SharedLog, ranks=ranks)
    return make(path, **settings)


class TogetherLearner(Learner):
    """A learner whose steps several processes take together.

    Args:
        model: the same in all of them.
        config: of the whole step.
        precision: of the run.
        ranks: the processes.
        settings: whatever else a ``Learner`` takes, its batches those of all processes.

    Raises:
        ValueError: if the step's batches cannot be shared evenly.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig,
        precision: Precision,
        *,
        ranks: Ranks,
        **settings: Any,
    ) -> None:
        super().__init__(model, config, precision, **settings)
        self.ranks = ranks
        self._share = ranks.share(config.accumulate, of="training.accumulate")
        self._wire = _WIRES[config.gradient_compression]
        self.greatest = partial(ranks.greatest, device=self.device)
        self._agree = self._agreed
        self._running = ReplayedStatistics(model, self.statistics, ranks)
        if config.sync_batch_norm:
            sync_norms(self.statistics.norms)

    def step(self) -> StepReport:
        """Move the weights of all processes alike, or of none.

        Raises:
            NonFiniteGradientError: a gradient that no smaller loss scale can mend, in all of them.
        """
        if not self._config.sync_batch_norm:
            self._running.replay()
        return super().step()

    def _agreed(self, norm: float) -> float:
        """The gradients' norm; not finite anywhere is not finite everywhere."""
        greatest = self.greatest(norm if norm < torch.inf else torch.inf)
        return greatest if norm < torch.inf else norm


class SharedLearner(TogetherLearner):
    """A learner that has the whole model, as in every other process; they sum their gradients.

    Args:
        model: as of a ``TogetherLearner``, and so are the others.
        config: of the whole step.
        precision: of the run.
        settings: whatever else a ``TogetherLearner`` takes.

    Raises:
        ValueError: if the step's batches cannot be shared evenly.
    """

    def __init__(
        self, model: nn.Module, config: TrainingConfig, precision: Precision, **settings: Any
    ) -> None:
        super().__init__(model, config, precision, **settings)
        self._learned = 0
        self._trained: list[nn.Parameter] = []
        if config.shard == "optimizer":
            shard_momentum(self.optimizer, self.ranks)

    def begin_epoch(self, epoch: int) -> None:
        """Freeze and thaw what trains from this epoch on; gradients are shared of what trains."""
        super().begin_epoch(epoch)
        trained = [each for each in self.model.parameters() if each.requires_grad]
        if [*map(id, trained)] != [*map(id, self._trained)]:
            self._trained = trained
            self._compute = _sharing_gradients(self.model, self._wire)

    def gradients(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """As of one process; with the last of this process's batches the gradients are added up."""
        self._learned += batches_of(batch)
        is_last = self._learned == self._share
        self._learned %= self._share
        assert isinstance(self._compute, DistributedDataParallel)
        with nullcontext() if is_last else self._compute.no_sync():
            return super().gradients(batch, seed)


class _Learning(nn.Module):
    """A model beside a parameter that nothing uses, without which torch warns of every run."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.unused = nn.Parameter(torch.zeros((), device=next(model.parameters()).device))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.model(batch)
        return losses


def _sharing_gradients(model: nn.Module, wire: torch.dtype | None) -> DistributedDataParallel:
    """The model, whose backward passes add up the gradients of all processes while they run.

    Parameters that get no gradient in a step, as without a positive sample, hold nobody up.

    Args:
        model: as it trains from now on: frozen parameters are left out.
        wire: type that gradients travel in; None for their own.
    """
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of newer names
        shared = DistributedDataParallel(
            _Learning(model),
            broadcast_buffers=False,
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )
    # A lambda: torch takes no annotation that is not its own class.
    shared.register_comm_hook(None, lambda _, bucket: _added_up(wire, bucket))
    return shared


def _added_up(wire: torch.dtype | None, bucket: GradBucket) -> Future[Tensor]:
    """A bucket's gradients summed over processes: each loss is a share of the whole step's mean."""
    gradients = bucket.buffer()
    sent = gradients if wire is None else gradients.to(wire)
    if sent.device.type == "cpu":
        added = Future[Tensor]()
        added.set_result(gradients.copy_(_added_in_order(sent)))
        return added
    adding = dist.all_reduce(sent, async_op=True)
    assert adding is not None

    def received(done: Future[list[Tensor]]) -> Tensor:
        (total,) = done.value()
        return total if wire is None else gradients.copy_(total)

    return adding.get_future().then(received)


def _added_in_order(own: Tensor) -> Tensor:
    """The sum ``(n,)`` of all processes' values, those of rank 0 first, as if one added them up.

    As many bytes travel as in a ring, whose order is another in each piece; within some fifty
    steps the last digit that this costs can grow to another run.
    """
    size = dist.get_world_size()
    pieces = nn.functional.pad(own, (0, -len(own) % size)).view(size, -1)
    dist.all_gather(list(pieces.unbind()), added_in_order(pieces))
    return pieces.view(-1)[: len(own)]


class SharedLog(RunLog):
    """A log that the first process writes, of the losses and samples of all; others keep theirs.

    The times are the first process's.

    Args:
        path: as of one process.
        ranks: the processes.
        settings: whatever else a ``RunLog`` takes.
    """

    def __init__(self, path: Path, *, ranks: Ranks, **settings: Any) -> None:
        self._ranks = ranks
        if not ranks.is_first:
            settings["console"] = Console(quiet=True, force_terminal=False)
        super().__init__(path, **settings)

    def _opened(self) -> FileIO:
        if self._ranks.is_first:
            return super()._opened()
        descriptor, name = tempfile.mkstemp()
        Path(name).unlink()  # it lives as long as it is open
        return FileIO(descriptor, "w+")

    def _follow_path(self) -> None:
        if self._ranks.is_first:
            super()._follow_path()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the file back to the checkpoint; the unfinished window goes to the first process."""
        losses = state["losses"] if self._ranks.is_first else []
        super().load_state_dict({**state, "losses": losses})

    def of_all(self, rows: list[RowT]) -> list[RowT]:
        """Rows of all processes, those of rank 0 first."""
        return [row for each in self._ranks.gathered(rows) for row in each]
