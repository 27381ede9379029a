"""Meter of the values that half precision rounds in a training step, by module."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.precision.called_ops import Calls
from halftrack.precision.dtypes import FP16_OVERFLOWS, is_half, widen
from halftrack.precision.errors import PrecisionError
from halftrack.precision.histogram import Histogram, HistogramCounter
from halftrack.precision.ranges import Ranges
from halftrack.precision.rehearsal import is_rehearsing
from halftrack.precision.sites import RunningModules
from halftrack.precision.tensor_cores import PRODUCTS, is_observed

__all__ = ["RangeMeter"]

_aten = torch.ops.aten
_CASTS = {_aten._to_copy.default, _aten.to.dtype}
# Kernels that compute halves in fp32 and round once; in place, the op with the same result.
_ROUNDED = {
    _aten.sum.dim_IntList: _aten.sum.dim_IntList,
    _aten.mul.Tensor: _aten.mul.Tensor,
    _aten.mul_.Tensor: _aten.mul.Tensor,
    _aten.div.Tensor: _aten.div.Tensor,
    _aten.div_.Tensor: _aten.div.Tensor,
}
_SUMS = {
    _aten.add.Tensor: _aten.add.Tensor,
    _aten.add_.Tensor: _aten.add.Tensor,
    _aten.sub.Tensor: _aten.sub.Tensor,
    _aten.sub_.Tensor: _aten.sub.Tensor,
}
# Looked up first: most ops of a step are none of these, and to hash an op takes its time.
_SEEN = frozenset({*_CASTS, *_ROUNDED, *_SUMS, *PRODUCTS})


class RangeMeter(TorchDispatchMode):
    """Meter of the values that one training step rounds to half, entered before everything else.

    A step without the meter pays nothing for it::

        with RangeMeter(model, loss_scale=512.0) as meter, precision.arithmetic(device):
            with precision.autocast(device):
                loss = model(batch)
            (512.0 * loss).backward()
        print(meter.ranges.near_overflow(), LossScaleAdvice(meter.ranges.gradients).safe)

    The meter sees the values that become half: casts from fp32, rehearsed products before their one
    rounding, and elementwise products, quotients and reductions of halves before theirs. It sees
    elementwise sums in the forward pass only; backward they lose nothing to 0. It does not see what
    stays fp32 (fp32 islands, losses, softmax), what only moves or selects halves (relu, pooling,
    indexing), nor scores that a mask of -inf or of a type's smallest number hides. On a device that
    computes in half itself, matrix products and convolutions are seen after they are rounded.

    A value belongs to the innermost module whose ``forward`` runs or, backward, ran there; folded
    convolutions, which are not called, belong to their block. Half copies of weights are recognised
    by their shape and left out, but for weights that fp16 does not hold: they are activations that
    overflow. ``calls.found`` names ops that a GPU may compute otherwise.

    Args:
        model: the model of the step; it has hooks only while the meter is entered.
        loss_scale: the loss scale of the step. Powers of two shift a histogram exactly; by other
            numbers gradients are divided in fp32.

    Raises:
        ValueError: if the loss scale is not positive and finite.
        RuntimeError: on entering within ``Precision.arithmetic`` or together with ``LiveBytes``,
            which would see the step first.
    """

    def __init__(self, model: nn.Module, *, loss_scale: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._model = model
        self.scale_by(loss_scale)
        self._counter: HistogramCounter[tuple[str, str]] = HistogramCounter()
        self._running = RunningModules(model, self._mark)
        self.calls = Calls()
        # The number of the first autograd node from which on the module beside it ran, ascending.
        self._nodes: list[int] = []
        self._owners: list[str] = []
        self._weight_shapes = {
            path: {shape for p in module.parameters() for shape in (p.shape, p.shape[::-1])}
            for path, module in model.named_modules()
        }

    def scale_by(self, loss_scale: float) -> None:
        """Take another loss scale for the gradients that follow.

        Raises:
            ValueError: if it is not positive and finite.
        """
        if not 0 < loss_scale < math.inf:
            raise PrecisionError(f"loss scale {loss_scale!r} is not a positive, finite number")
        fraction, exponent = math.frexp(loss_scale)
        self._exponent, self._fraction = exponent - 1, 2.0 * fraction

    @property
    def ranges(self) -> Ranges:
        """The histograms so far."""
        found: dict[str, dict[str, Histogram]] = {each.name: {} for each in fields(Ranges)}
        for (kind, path), histogram in self._counter.histograms().items():
            found[kind][path] = histogram
        for path, ratios in found["update_ratios"].items():  # of the weights that did change
            unchanged = found["updates"][path].zeros
            found["update_ratios"][path] = replace(ratios, zeros=ratios.zeros - unchanged)
        return Ranges(**found)

    def __enter__(self) -> Self:
        if is_rehearsing() or is_observed():
            raise RuntimeError(
                "enter the RangeMeter before precision.arithmetic and precision.autocast, and not "
                "together with LiveBytes: what they see first is hidden from it"
            )
        self._running.__enter__()
        self.calls.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)  # type: ignore[no-untyped-call]
        self.calls.__exit__(*details)
        self._running.__exit__(*details)

    @contextmanager
    def updates(self) -> Iterator[None]:
        """Context around the optimizers' step, to count the updates of each trainable weight."""
        trained = {
            path: [p for p in module.parameters(recurse=False) if p.requires_grad]
            for path, module in self._model.named_modules()
        }
        trained = {path: parameters for path, parameters in trained.items() if parameters}
        sizes = [sum(_real(p.detach()).numel() for p in ps) for ps in trained.values()]
        weights = [p for parameters in trained.values() for p in parameters]
        old = _flat(weights)
        yield
        update = _flat(weights).sub_(old)
        # Put to 0 rather than picked out, which takes several times as long.
        ratio = old.div_(update).masked_fill_(update == 0, 0.0)
        for path, own, ratios in zip(trained, update.split(sizes), ratio.split(sizes), strict=True):
            self._counter.count(("updates", path), own)
            self._counter.count(("update_ratios", path), ratios)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _SEEN:
            self.calls.ops.add(func)
            return func(*args, **kwargs)
        backward = torch._C._current_graph_task_id() != -1
        if backward and self._running:  # recomputed activations, seen before
            return func(*args, **kwargs)
        exact = _ROUNDED.get(func) or (None if backward else _SUMS.get(func))
        unrounded = None
        if exact is not None and any(map(is_half, args)):
            # Before the op, which may change its operands in place.
            unrounded = exact(*map(widen, args), **kwargs)
        result = func(*args, **kwargs)
        if unrounded is not None:
            if is_half(result):
                self._saw([unrounded], backward)
        elif func in _CASTS:
            if is_half(result) and args[0].dtype == torch.float32:
                self._saw([args[0]], backward)
        elif func in PRODUCTS:
            results = result if isinstance(result, tuple) else (result,)
            self._saw([each for each in results if is_half(each)], backward)
        return result

    def _saw(self, values: list[Tensor], backward: bool) -> None:
        path = self._owner() if backward else self._running.innermost
        for tensor in map(_stored, values):
            if tensor.is_meta:  # what forward-mode gradients ask for shapes alone
                continue
            is_weight = tensor.shape in self._weight_shapes[path]
            if backward:
                kind = "weight_gradients" if is_weight else "activation_gradients"
                exact = tensor if self._fraction == 1.0 else tensor.float() / self._fraction
                self._counter.count((kind, path), exact, exponent=self._exponent)
                continue
            seen = _without_mask(tensor)
            if is_weight:
                seen = seen[seen.abs() >= FP16_OVERFLOWS]
            if seen.numel():
                self._counter.count(("activations", path), seen)

    def _owner(self) -> str:
        """The module that ran when the present autograd node was made."""
        node = torch._C._current_autograd_node()
        place = bisect_right(self._nodes, node._sequence_nr()) if node is not None else 0
        return self._owners[place - 1] if place else ""

    def _mark(self) -> None:
        self._nodes.append(torch._C._autograd._get_sequence_nr())
        self._owners.append(self._running.innermost)


def _stored(tensor: Tensor) -> Tensor:
    """A tensor, or the values that a sparse one holds."""
    if tensor.layout == torch.strided:
        return tensor
    return tensor._values() if tensor.is_sparse else tensor.values()


def _without_mask(values: Tensor) -> Tensor:
    """The values without those that a mask of -inf or of a type's smallest number has hidden.

    They are within 1% of that number, with a score added to it or not, and so on purpose. In fp32
    -inf is a mask's too: what overflows in half was seen before, while it was finite. In half it is
    an overflow.
    """
    smallest = torch.finfo(torch.float16).min
    if not values.numel() or values.amin() > 0.99 * smallest:
        return values
    of_half = (values > 1.01 * smallest) & (values < 0.99 * smallest)
    of_float = values < 0.99 * torch.finfo(torch.float32).min
    if is_half(values):
        of_float &= values > -torch.inf
    return values[~(of_half | of_float)]


def _real(tensor: Tensor) -> Tensor:
    """A tensor, or the real and imaginary parts of a complex one."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _flat(parameters: list[nn.Parameter]) -> Tensor:
    """A copy of the parameters in one row."""
    return torch.cat([_real(parameter.detach()).flatten() for parameter in parameters])
