"""A trace of a step's non-finite numbers: every op's result is watched, forward and backward.

A dispatch mode sees each op below autograd. What is not finite is traced from tensor to tensor, so
that of all infinities the first one is found that the gradients descend from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.precision.ops import dense, is_finite, op_of, tensors_in
from halftrack.precision.sites import ModuleSites
from halftrack.precision.widened import Widened

__all__ = ["Direction", "Event", "Kind", "NonFiniteTrace"]

Direction = Literal["forward", "backward"]
Kind = Literal["overflow", "NaN", "0 x inf", "infinity"]

_aten = torch.ops.aten
# What an op on lists does to each of their tensors: blame falls on one of them.
_OF_EACH = {
    _aten._foreach_add.ScalarList: _aten.add.Scalar,
    _aten._foreach_copy_.default: _aten.copy_.default,
    _aten._foreach_mul.List: _aten.mul.Tensor,
    _aten._foreach_rsqrt.default: _aten.rsqrt.default,
    _aten._foreach_sub.List: _aten.sub.Tensor,
}

# Rows that are picked out are no longer one a sample, even where there are as many.
_PICKING = ("gather", "index", "index_select", "masked_select")


@dataclass(frozen=True, kw_only=True, eq=False)
class Event:
    """A result that is not finite, or something non-finite that the step was handed."""

    number: int
    """Position in the order of events."""
    module: str
    """Path of the module that computed it, "" for the outermost; or the name of the tensor."""
    operation: str
    """Name of the op in the forward pass; or ``batch``, ``parameter``, ``buffer``, ``constant``."""
    kind: Kind
    """Kind of the non-finite value, as in ``Culprit.kind``."""
    dtype: torch.dtype
    """The result's dtype."""
    samples: tuple[str, ...]
    """Samples that hold non-finite values, if the first dimension is the batch; else empty."""
    direction: Direction | None = None
    """``forward``, ``backward``, or None for what was handed in."""
    parents: tuple[Event, ...] = ()
    """The non-finite inputs."""
    deliberate: bool = False
    """True for an infinity from a constant, such as a mask: no fault unless it becomes NaN."""
    magnitude: float | None = None
    """Largest lost value, computed again in a wider type; None if that fails."""
    node: int | None = None
    """Sequence number of the autograd node that made it in the backward pass; None of all else."""


class NonFiniteTrace(TorchDispatchMode):
    """Records a step's non-finite tensors; entered within ``precision.arithmetic``.

    Args:
        model: the model whose modules are named.
        sample_ids: names of the batch's samples.
    """

    def __init__(self, model: nn.Module, sample_ids: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sample_ids = tuple(sample_ids)
        """Names of the samples of the batch that comes next."""
        self._shapes = {parameter.shape for parameter in model.parameters()}
        self._sites = ModuleSites(model)
        self._events: dict[int, tuple[StorageWeakRef, Event]] = {}
        self._batched: dict[int, StorageWeakRef] = {}
        self._count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as TensorCores

    def __enter__(self) -> Self:
        self._sites.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)  # type: ignore[no-untyped-call]
        self._sites.__exit__(*details)

    def hand_in(
        self, tensor: Tensor, name: str, what: str, *, samples: tuple[str, ...] | None
    ) -> None:
        """Record a tensor that the step starts from, unless an op was seen to make it.

        ``samples`` are those it belongs to; None if its first dimension is the batch.
        """
        # One of a torch.func transform is not the step's own, and has no memory.
        if tensor.layout != torch.strided or is_functorch_wrapped_tensor(tensor):
            return
        if samples is None:
            self._mark_batched([tensor])
        # Asked first: within the trace, looking at it is an op too.
        known = self._events.get(tensor.untyped_storage()._cdata)
        maker = None if known is None else _first_of_line([known[1]])
        if (maker is None or maker.operation == "constant") and not is_finite(tensor):
            event = self._event(
                tensor,
                module=name,
                operation=what,
                kind="NaN" if bool(tensor.isnan().any()) else "infinity",
                samples=self._samples(tensor) if samples is None else samples,
            )
            self._remember(tensor, event)

    def origin(self, tensors: Iterable[Tensor]) -> Event | None:
        """The first event that the non-finite tensors among these descend from, or None.

        A deliberate infinity is returned only if nothing else is to blame.
        """
        pending = [self._event_of(tensor) for tensor in tensors if not is_finite(tensor)]
        return _first_of_line(pending)

    def latest(self) -> Event | None:
        """The fault behind the last non-finite tensor of the forward pass, or None if none is."""
        made = [event for _, event in self._events.values() if not event.deliberate]
        made = [event for event in made if event.direction or event.operation == "batch"]
        return _first_of_line(sorted(made, key=lambda event: event.number)[-1:])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _OF_EACH:
            single, rows = _OF_EACH[func], zip(*args, strict=True)
            results = [self.__torch_dispatch__(single, types, row, kwargs) for row in rows]
            if single is _aten.copy_.default:
                self._mark_joined(args[0])
            return None if func._schema.is_mutable else results
        kwargs, op = kwargs or {}, op_of(func)
        given = tensors_in((*args, *kwargs.values()))
        site = self._sites.of_forward(op.name, given) if self._sites.forward else None
        # What is overwritten must be looked at, and computed with again, as it was.
        before = op.before(args, kwargs)
        if func is _aten.copy_.default:
            before[0][0].zero_()  # nothing is made of what a copy overwrites
        result = func(*args, **kwargs)
        results = [dense(value) for value in tensors_in((result,))]
        joined = op.name in ("cat", "stack") and len(given) == len(self.sample_ids)
        if joined or (op.name not in _PICKING and any(map(self._is_batched, given))):
            self._mark_batched(results)
        if op.makes_values:
            bad = [place for place, value in enumerate(results) if not is_finite(value)]
            if bad:
                again = Widened(func, *before, place=bad[0])
                lost = [results[place] for place in bad]
                self._note(site, op.name, given, again, lost, _unread(func, args))
        if site is not None:
            self._sites.inherit(given, results)
        return result

    def _note(
        self,
        site: tuple[str, str] | None,
        name: str,
        given: Sequence[Tensor],
        again: Widened,
        lost: Sequence[Tensor],
        unread: set[int],
    ) -> None:
        """Record one event for the non-finite results of an op."""
        direction: Direction = "backward" if site is None else "forward"
        node = None if site is not None else torch._C._current_autograd_node()
        module, operation = self._sites.of_backward(name) if site is None else site
        parents = tuple(
            self._event_of(tensor, value)
            for tensor, value in zip(given, again.tensors, strict=True)
            if id(tensor) not in unread and not is_finite(value)
        )
        has_nan = any(bool(each.isnan().any()) for each in lost)
        constant = again.is_of_constants
        # A gradient is never infinite on purpose.
        deliberate = (
            direction == "forward"
            and not has_nan
            and (all(parent.deliberate for parent in parents) if parents else constant)
        )
        is_root = not deliberate and all(parent.deliberate for parent in parents)
        magnitude = again.magnitude(lost[0]) if is_root else None
        kind: Kind = "infinity" if deliberate or parents else "overflow"
        if has_nan and magnitude is None:
            kind = "0 x inf" if parents else "NaN"
        event = self._event(
            lost[0],
            module=module,
            operation=operation,
            direction=direction,
            kind=kind,
            parents=parents,
            deliberate=deliberate,
            samples=self._samples(lost[0]),
            magnitude=magnitude,
            node=None if node is None else node._sequence_nr(),
        )
        for each in lost:
            self._remember(each, event)

    def _event(self, tensor: Tensor, **fields: Any) -> Event:
        self._count += 1
        return Event(number=self._count, dtype=tensor.dtype, **fields)

    def _remember(self, tensor: Tensor, event: Event) -> None:
        storage = dense(tensor).untyped_storage()
        # The weak reference keeps the address from being given to another storage.
        self._events[storage._cdata] = (StorageWeakRef(storage), event)

    def _event_of(self, tensor: Tensor, value: Tensor | None = None) -> Event:
        """The event that made a non-finite tensor; a constant if no op was seen to make it."""
        known = self._events.get(dense(tensor).untyped_storage()._cdata)
        if known is None:
            has_nan = bool(dense(tensor if value is None else value).isnan().any())
            event = self._event(
                tensor,
                module=self._sites.running,
                operation="constant",
                kind="NaN" if has_nan else "infinity",
                deliberate=not has_nan,
                samples=(),
            )
            self._remember(tensor, event)
            return event
        return known[1]

    def _samples(self, tensor: Tensor) -> tuple[str, ...]:
        """Samples with non-finite values in a tensor whose first dimension is the batch."""
        if len(self.sample_ids) == 1:
            return self.sample_ids
        if not self._is_batched(tensor):
            return ()
        whole = tensor.isfinite().reshape(len(tensor), -1).all(dim=1).tolist()
        return tuple(n for n, good in zip(self.sample_ids, whole, strict=True) if not good)

    def _mark_batched(self, values: Iterable[Tensor]) -> None:
        for value in values:
            # A weight's gradient is of the batch and not by sample.
            if self._counts(value) and value.shape not in self._shapes:
                storage = value.untyped_storage()
                self._batched.setdefault(storage._cdata, StorageWeakRef(storage))

    def _mark_joined(self, parts: Sequence[Tensor]) -> None:
        """Tensors that are written into one, as many as there are samples, make it a batch."""
        storages = {part.untyped_storage()._cdata for part in parts}
        if len(storages) == 1 and len(parts) == len(self.sample_ids):
            self._batched.setdefault(storages.pop(), StorageWeakRef(parts[0].untyped_storage()))

    def _is_batched(self, tensor: Tensor) -> bool:
        return self._counts(tensor) and tensor.untyped_storage()._cdata in self._batched

    def _counts(self, tensor: Tensor) -> bool:
        """True if the first dimension could be the batch; a sparse tensor is a graph."""
        # The sizes alone: to ask a tensor for its length takes a call of Python's.
        is_long = tensor.shape[:1] == (len(self.sample_ids),)
        return is_long and tensor.layout == torch.strided


def _unread(func: Any, args: Sequence[Any]) -> set[int]:
    """Tensors, by ``id``, that a batch norm is given and does not compute with while it trains."""
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False))
    if not given.get("training", given.get("train", "update" in func._schema.name)):
        return set()
    return {id(given.get(name)) for name in ("running_mean", "running_var")}


def _first_of_line(pending: list[Event]) -> Event | None:
    """The first fault among these events and all that they descend from."""
    line: set[Event] = set()
    while pending:
        event = pending.pop()
        if event not in line:
            line.add(event)
            pending += event.parents
    faults = [
        event
        for event in line
        if not event.deliberate and all(parent.deliberate for parent in event.parents)
    ]
    return min(faults or line, key=lambda event: event.number, default=None)
