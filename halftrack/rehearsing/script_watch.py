"""Watch over a script: its optimizers tell of its models, and their steps are counted."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from typing import Any, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from halftrack.precision import Precision
from halftrack.rehearsing.loop import Watch
from halftrack.rehearsing.snapshot import learned_by

__all__ = ["EnoughSteps", "ScriptWatch", "models_of"]

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


class EnoughSteps(BaseException):
    """The end of a script that has taken its steps; no ``except Exception`` keeps it from it."""


class ScriptWatch:
    """A watch over the models of all optimizers that are made while it is entered.

    Args:
        steps: attempted steps, after which ``EnoughSteps`` is raised out of the last of them.
        every: how often ranges are measured, as ``watching`` takes it.
        progress: told (steps attempted, steps in all).
    """

    def __init__(
        self, *, steps: int, every: int, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._steps, self._every, self._progress = steps, every, progress
        self._make = Optimizer.__init__
        self._optimizers: list[Optimizer] = []
        self.models: list[nn.Module] = []
        """The models, those that learn most first."""
        self.watch: Watch | None = None
        """The watch; None before the first optimizer."""

    def __enter__(self) -> Self:
        make = self._make

        def made(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            make(optimizer, *args, **kwargs)
            self._add(optimizer)

        Optimizer.__init__ = made  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *details: Any) -> None:
        Optimizer.__init__ = self._make  # type: ignore[method-assign]
        if self.watch is not None:
            self.watch.__exit__(*details)

    def _add(self, optimizer: Optimizer) -> None:
        """Follow an optimizer, and its model if none before it learned that."""
        self._optimizers.append(optimizer)
        models = models_of(learned_by(self._optimizers))
        if self.watch is not None and list(map(id, models)) == list(map(id, self.models)):
            return
        self.models = models
        model = models[0] if len(models) == 1 else _Several(models)
        if self.watch is not None:
            self.watch.follow(model)
            return
        # What the script computes in is known at its end.
        self.watch = _Counted(model, Precision.named("fp16"), every=self._every, told=self._told)
        self.watch.__enter__()

    def _told(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._steps)
        if done >= self._steps:
            raise EnoughSteps


class _Counted(Watch):
    """A watch that tells the number of steps after each."""

    def __init__(
        self, model: nn.Module, precision: Precision, *, every: int, told: Callable[[int], None]
    ) -> None:
        super().__init__(model, precision, trainer=None, every=every)
        self._told = told

    def ended(self, optimizer: Optimizer, *, loss_scale: float, skipped: bool) -> None:
        super().ended(optimizer, loss_scale=loss_scale, skipped=skipped)
        self._told(len(self._measured.steps))

    def idle_scaler(self) -> None:
        """A disabled scaler is the script's own choice."""


class _Several(nn.ModuleDict):
    """Several models as one, each under the name of its class; none as an empty one."""

    def __init__(self, models: Iterable[nn.Module]) -> None:
        super().__init__()
        for model in models:
            name = type(model).__name__
            same = sum(type(other) is type(model) for other in self.values())
            self[f"{name}_{same + 1}" if same else name] = model


def models_of(learned: Iterable[Tensor]) -> list[nn.Module]:
    """The outermost modules that hold these parameters: the fewest that hold all.

    They are looked for among all modules that are alive. A wrapper for several devices or processes
    is left out.
    """
    alive = [each for each in gc.get_objects() if issubclass(type(each), nn.Module)]
    holding = [each for each in alive if not isinstance(each, (*_WRAPPERS, _Several))]
    inner = {id(child) for module in holding for child in module.children()}
    held = {
        module: {id(parameter) for parameter in module.parameters()}
        for module in holding
        if id(module) not in inner
    }
    left, found = {id(parameter) for parameter in learned}, list[nn.Module]()
    while held:
        largest = max(held, key=lambda module: len(held[module] & left))
        if not held[largest] & left:
            break
        found.append(largest)
        left -= held.pop(largest)
    return found
