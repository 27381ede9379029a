"""What moves the weights: SGD, the schedule of its rate, phases and the weight average.

The step schedule equals mmcv's ``StepLrUpdaterHook`` with ``warmup='linear'`` to the last digit,
counted in taken steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from halftrack.errors import UserError

__all__ = [
    "BatchStatistics",
    "Phase",
    "Ramp",
    "StepSchedule",
    "WeightAverage",
    "apply_phases",
    "build_sgd",
    "scaled_rate",
]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """From an epoch on, which modules train."""

    first_epoch: int
    """0-based epoch at whose start the phase begins."""
    trainable: tuple[str, ...]
    """Patterns (``fnmatch``) of parameter names that train; all others are frozen."""
    batch_statistics: tuple[str, ...] = ()
    """Patterns of module names whose batch norms, frozen until then, take statistics again."""


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """Epochs over which the learning rate goes from one share of itself to another, as a power."""

    epochs: int
    """Length."""
    start: float
    """Share of the rate in the first epoch."""
    end: float
    """Share it goes to."""
    arrives: bool = True
    """The last epoch has the end's share; else the epoch after it would have."""

    def factor(self, epoch: int) -> float:
        """The share in an epoch of the ramp, counted from 0."""
        way = self.epochs - 1 if self.arrives else self.epochs
        return float(self.start * (self.end / self.start) ** (epoch / max(way, 1)))


def scaled_rate(
    published: float, *, batches_per_step: int, published_batches_per_step: int
) -> float:
    """The learning rate for a step of another size: proportional to the batches in it.

    The published recipes step on 8 GPUs with one batch each (Goyal et al. 2017, arXiv 1706.02677,
    section 2.1).
    """
    return published * batches_per_step / published_batches_per_step


def build_sgd(
    model: nn.Module,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    slower: Mapping[str, float] | None = None,
) -> SGD:
    """SGD over every parameter, frozen ones included: they get no gradient and so no step.

    Built from named parameters, so that a non-finite gradient can be named.

    Args:
        model: whose parameters.
        lr: learning rate.
        momentum: SGD's.
        weight_decay: SGD's.
        slower: by a pattern of parameter names, what the rate of these is multiplied by.

    Raises:
        ValueError: if a pattern matches no parameter.
    """
    groups: dict[float, list[tuple[str, nn.Parameter]]] = {1.0: []}
    slower = slower or {}
    unused = set(slower)
    for name, parameter in model.named_parameters():
        pattern = next((each for each in slower if fnmatchcase(name, each)), None)
        unused.discard(pattern or "")
        groups.setdefault(slower[pattern] if pattern else 1.0, []).append((name, parameter))
    if unused:
        raise UserError(f"lr_factors: {sorted(unused)[0]!r} matches no parameter")
    named = [{"params": rows, "lr": lr * factor} for factor, rows in groups.items() if rows]
    return SGD(named, lr=lr, momentum=momentum, weight_decay=weight_decay)


class StepSchedule:
    """Learning rates as a function of the taken steps alone: steps with a warm-up, or else ramps.

    Raises:
        ValueError: if the milestones do not increase.
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
        if list(milestones) != sorted(set(milestones)):
            raise UserError(f"schedule milestones must increase, got {tuple(milestones)}")
        # Looked up anew each time: Optimizer.load_state_dict puts new group dicts in their place.
        self._optimizers = list(optimizers)
        self._base_rates = [float(group["lr"]) for group in self._groups()]
        self._milestones = [epoch * steps_per_epoch for epoch in milestones]
        self._gamma = gamma
        self._warmup_steps = warmup_steps
        self._warmup_ratio = warmup_ratio
        self._steps_per_epoch = steps_per_epoch
        self._ramped = [ramp.factor(epoch) for ramp in ramps for epoch in range(ramp.epochs)]
        self.taken_steps = 0
        self._apply()

    def factor(self, taken_steps: int) -> float:
        """What the base rate is multiplied by after ``taken_steps`` steps."""
        if self._ramped:
            epoch = min(taken_steps // self._steps_per_epoch, len(self._ramped) - 1)
            return self._ramped[epoch]
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
        """Plain values that ``load_state_dict`` takes back."""
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

    Parameters are averaged in fp32, buffers (BN statistics) are copied. The effective decay starts
    low, ``min(decay, (1 + n) / (10 + n))`` after n updates, so that the random start is soon
    forgotten.
    """

    def __init__(self, model: nn.Module, *, decay: float | None) -> None:
        if decay is not None and not 0.0 < decay < 1.0:
            raise UserError(f"ema_decay must lie between 0 and 1 or be None, got {decay}")
        self._decay = decay
        self._updates = 0
        self._average: dict[str, Tensor] = {}
        if decay is not None:
            self._average = {
                name: tensor.detach().clone() for name, tensor in model.state_dict().items()
            }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model after a taken step."""
        if self._decay is None:
            return
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        parameters = dict(model.named_parameters())
        for name, tensor in model.state_dict().items():
            if name in parameters:
                self._average[name].lerp_(tensor, 1 - decay)
            else:
                self._average[name].copy_(tensor)

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
            ValueError: if one of the two runs averages weights and the other does not.
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

    BN takes its statistics in the forward pass, before a step turns out to be skipped: without
    this, one infinite activation would stay in a running mean for ever.
    """

    def __init__(self, model: nn.Module) -> None:
        layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        # Those that are frozen too: a later phase may thaw them.
        self._live = [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
        self._kept = [buffer.clone() for buffer in self._live]

    @torch.no_grad()
    def keep(self) -> None:
        """Take the statistics of a taken step over."""
        if self._live:
            torch._foreach_copy_(self._kept, self._live)

    @torch.no_grad()
    def put_back(self) -> None:
        """Forget what a skipped step has seen."""
        if self._live:
            torch._foreach_copy_(self._live, self._kept)


def apply_phases(model: nn.Module, phases: Sequence[Phase], epoch: int) -> None:
    """Freeze and thaw parameters as the last phase begun by ``epoch`` says; no phase, no change.

    To be called in training mode, at the start of every epoch: ``model.train()`` freezes statistics
    as the model says.

    Raises:
        ValueError: if a pattern matches no parameter.
    """
    begun = [phase for phase in phases if phase.first_epoch <= epoch]
    if not begun:
        return
    current = max(begun, key=lambda phase: phase.first_epoch)
    names = [name for name, _ in model.named_parameters()]
    for pattern in current.trainable:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(
                f"phase from epoch {current.first_epoch}: {pattern!r} matches no parameter; "
                f"names look like {names[0]!r}, {names[-1]!r}"
            )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in current.trainable))
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for pattern in current.batch_statistics:
        thawed = [norm for name, norm in norms.items() if fnmatchcase(name, pattern)]
        if not thawed:
            raise UserError(
                f"phase from epoch {current.first_epoch}: {pattern!r} matches no batch norm; "
                f"names look like {', '.join(list(norms)[:2])}"
            )
        for norm in thawed:
            norm.train()
