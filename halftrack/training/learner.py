"""The one place where a batch becomes gradients, and gradients become a step.

Training, rehearsal, memory meter, island search and benchmarks all take their steps through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftrack.errors import UserError
from halftrack.frames import batches_of
from halftrack.precision import NonFiniteGradientError, Precision, StepReport, optimizer_step
from halftrack.training.batches import Batch
from halftrack.training.config import Ramp, TrainingConfig
from halftrack.training.optimiser import apply_phases, build_sgd
from halftrack.training.ranks import ALONE

__all__ = ["BatchStatistics", "Learner", "StepSchedule", "WeightAverage", "total_loss"]


class Learner:
    """A model in training and all that moves it, from a batch to a taken or skipped step.

    Args:
        model: on ``device``; it is put into training mode and given its fp32 islands.
        config: the recipe's training settings.
        precision: of the run.
        device: of the run.
        batches_per_epoch: batches in the training set; an epoch is rounded up to whole steps.

    Raises:
        ValueError: without a batch, or if a pattern of the settings matches nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig,
        precision: Precision,
        *,
        device: torch.device,
        batches_per_epoch: int,
    ) -> None:
        if batches_per_epoch < 1:
            raise UserError("the training set is empty")
        self.model, self.precision, self.device = model.train(), precision, device
        precision.keep_in_fp32(model)
        self._config, self.steps_per_epoch = config, -(-batches_per_epoch // config.accumulate)
        self.optimizer = build_sgd(
            model,
            lr=config.scaled_lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            slower=dict(config.lr_factors),
        )
        self.schedule = StepSchedule(
            [self.optimizer],
            steps_per_epoch=self.steps_per_epoch,
            milestones=config.milestones,
            gamma=config.gamma,
            warmup_steps=config.warmup_steps,
            warmup_ratio=config.warmup_ratio,
            ramps=config.ramps,
        )
        self.loss_scale = precision.new_loss_scale()
        self.average = WeightAverage(model, decay=config.ema_decay)
        self.statistics = BatchStatistics(model)
        self.ranks = ALONE  # of several processes see TogetherLearner
        self.greatest: Callable[[float], float] = float
        """Tells the greatest of a number that each process has."""
        self.whole_weights: Callable[[], AbstractContextManager[None]] = nullcontext
        """Gives a context in which the model has all its weights, which all processes enter."""
        self._compute: nn.Module = model
        self._agree: Callable[[float], float] = float

    def begin_epoch(self, epoch: int) -> None:
        """Freeze and thaw what trains from this epoch (0-based) on."""
        apply_phases(self.model, self._config.phases, epoch)

    def gradients(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Forward and backward pass; its gradients add up to those of the step under way.

        The losses come back as the model named them, fp32 scalars without the loss scale.

        Args:
            batch: on the device.
            seed: of all random numbers the model draws.
        """
        # Sampled anchors and rois follow from the batch's place alone: no resume can change them.
        torch.manual_seed(seed)
        with self.precision.arithmetic(self.device):
            with self.precision.autocast(self.device):
                losses: dict[str, Tensor] = self._compute(batch)
            passes = self._config.accumulate / batches_of(batch)
            self.loss_scale.scale(total_loss(losses) / passes).backward()
        return losses

    def step(self) -> StepReport:
        """Move the weights by the gradients that have added up, or skip the step and move nothing.

        Only a taken step counts for the schedule, the weight average and the batch statistics.

        Raises:
            NonFiniteGradientError: a gradient that no smaller loss scale can mend.
        """
        try:
            sgd, clip = [self.optimizer], self._config.max_grad_norm
            report = optimizer_step(sgd, self.loss_scale, max_grad_norm=clip, agree=self._agree)
        except NonFiniteGradientError:
            self.statistics.put_back()
            raise
        if report.skipped:
            self.statistics.put_back()
        else:
            self.schedule.step()
            self.average.update(self.model)
            self.statistics.keep()
        return report

    def end(self) -> None:
        """Leave the model with all its weights."""

    def state_dict(self) -> dict[str, Any]:
        """State of all parts, as a checkpoint keeps them."""
        return {
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "loss_scale": self.loss_scale.state_dict(),
            "average": self.average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state`` was taken; other parts of a checkpoint are ignored.

        Raises:
            ValueError: if its loss scale is of another kind, or only one of the two has an average.
        """
        self.model.load_state_dict(state["state_dict"])
        self.statistics.keep()
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.loss_scale.load_state_dict(state["loss_scale"])
        self.average.load_state_dict(state["average"])


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of everything named ``loss...``; other entries are only logged.

    Raises:
        ValueError: if there is no such entry; lists those there are.
    """
    terms = [value for name, value in losses.items() if name.startswith("loss")]
    if not terms:
        raise ValueError(f"the model returned no entry named loss..., only {sorted(losses)}")
    return torch.stack(terms).sum()


class StepSchedule:
    """Learning rates as a function of the taken steps alone: steps with a warm-up, or else ramps.

    The steps equal mmcv's ``StepLrUpdaterHook`` with ``warmup='linear'`` to the last digit.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        *,
        steps_per_epoch: int,
        milestones: Sequence[int],
        gamma: float,
        warmup_steps: int,
        warmup_ratio: float,
        ramps: Sequence[Ramp] = (),
    ) -> None:
        # Looked up anew each time: Optimizer.load_state_dict puts new group dicts in their place.
        self._optimizers = list(optimizers)
        self._base_rates = [float(group["lr"]) for group in self._groups()]
        self._milestones = [epoch * steps_per_epoch for epoch in milestones]
        self._warmup_steps, self._warmup_ratio = warmup_steps, warmup_ratio
        self._steps_per_epoch, self._gamma, self.taken_steps = steps_per_epoch, gamma, 0
        self._ramped = [ramp.factor(epoch) for ramp in ramps for epoch in range(ramp.epochs)]
        self._apply()

    def factor(self, taken_steps: int) -> float:
        """Factor of the base rate after ``taken_steps`` steps."""
        if self._ramped:
            return self._ramped[min(taken_steps // self._steps_per_epoch, len(self._ramped) - 1)]
        decay = self._gamma ** sum(taken_steps >= milestone for milestone in self._milestones)
        if taken_steps >= self._warmup_steps:
            return float(decay)
        missing = (1 - taken_steps / self._warmup_steps) * (1 - self._warmup_ratio)
        return float(decay * (1 - missing))

    def step(self) -> None:
        """Count one taken step; a skipped one must not come here."""
        self.taken_steps += 1
        self._apply()

    @property
    def lr(self) -> float:
        """The rate of the first group, as logged."""
        return float(self._groups()[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Taken steps and base rates."""
        return {"taken_steps": self.taken_steps, "base_rates": list(self._base_rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken."""
        self.taken_steps = int(state["taken_steps"])
        self._base_rates = [float(rate) for rate in state["base_rates"]]
        self._apply()

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def _apply(self) -> None:
        factor = self.factor(self.taken_steps)
        for group, base_rate in zip(self._groups(), self._base_rates, strict=True):
            group["lr"] = base_rate * factor


class WeightAverage:
    """Exponential moving average of the weights, or, with ``decay=None``, nothing at all.

    Parameters are averaged in fp32, buffers (BN statistics) are copied. After n updates the decay
    is ``min(decay, (1 + n) / (10 + n))``, so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, *, decay: float | None) -> None:
        self._decay, self._updates = decay, 0
        state = {} if decay is None else model.state_dict()
        self._average = {name: tensor.detach().clone() for name, tensor in state.items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model after a taken step."""
        if self._decay is None:
            return
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        live, parameters = self._live(model), dict(model.named_parameters(remove_duplicate=False))
        for name, tensor in self._average.items():
            if name in parameters:
                tensor.lerp_(live[name], 1 - decay)
            else:
                tensor.copy_(live[name])

    def _live(self, model: nn.Module) -> Mapping[str, Tensor]:
        return model.state_dict()

    @property
    def tensors(self) -> list[Tensor]:
        """The averaged parameters and copied buffers; none without an average."""
        return list(self._average.values())

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[nn.Module]:
        """The model with the averaged weights, for an evaluation; its own come back after."""
        if self._decay is None:
            yield model
            return
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self._average)
        try:
            yield model
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates; both empty without an average."""
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken.

        Raises:
            ValueError: if only one of the two runs averages weights.
        """
        if bool(state["average"]) != bool(self._average):
            raise UserError(
                f"the checkpoint {'has' if state['average'] else 'lacks'} averaged weights, "
                f"but this run has ema_decay={self._decay}"
            )
        self._updates = int(state["updates"])
        for name, tensor in self._average.items():
            tensor.copy_(state["average"][name])


class BatchStatistics:
    """The model's buffers as the last taken step left them.

    One infinite activation of a step that is skipped would stay in a running mean for ever.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        # Those that are frozen too: a later phase may thaw them.
        self.norms = [layer for layer in layers if layer.running_mean is not None]
        self.live = [buffer for norm in self.norms for buffer in norm.buffers(recurse=False)]
        self.kept = [buffer.clone() for buffer in self.live]

    @torch.no_grad()
    def keep(self) -> None:
        """Take the statistics of a taken step over."""
        if self.live:
            torch._foreach_copy_(self.kept, self.live)

    @torch.no_grad()
    def put_back(self) -> None:
        """Forget what a skipped step has seen."""
        if self.live:
            torch._foreach_copy_(self.live, self.kept)
