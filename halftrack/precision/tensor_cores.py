"""The arithmetic of tensor cores on a CPU: half operands, fp32 accumulation, one rounding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from halftrack.precision import attention
from halftrack.precision.autocast_lists import CAST
from halftrack.precision.dtypes import HALF, is_half, is_plain, widen

__all__ = ["PRODUCTS", "SCRATCH", "Kernel", "Scratch", "TensorCores", "is_observed", "observing"]

_aten = torch.ops.aten

Kernel = Callable[..., Any]


def _round(value: Any, dtype: torch.dtype) -> Any:
    # Tensor.to rounds ties to even, to infinity above the largest finite value, and keeps
    # subnormals.
    return value.to(dtype) if isinstance(value, Tensor) else value


# Elements for which malloc has memory at hand.
_FEW = 1 << 14


class Scratch:
    """Calls ops with widened operands, each place among them in memory that is kept for it.

    Memory that is new to the process costs more than the conversion: its pages have to be made.
    While an op runs its memory belongs to that call: another thread, or an op that is called
    meanwhile, takes new memory.
    """

    def __init__(self) -> None:
        self._memory: dict[int, Tensor] = {}

    def call(self, op: Kernel, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The op's result for half arguments in fp32, with the strides of ``Tensor.float``.

        The arguments are valid until the op returns: a result may not share memory with them.
        """
        lent: dict[int, Tensor] = {}
        result = op(
            *[self._widen(place, value, lent) for place, value in enumerate(args)], **kwargs
        )
        self._memory.update(lent)
        return result

    def _widen(self, place: int, value: Any, lent: dict[int, Tensor]) -> Any:
        if not is_half(value) or value.numel() < _FEW or not _fits(value):
            return widen(value)
        memory = self._memory.pop(place, None)
        if memory is None or memory.numel() < value.numel():
            with torch.inference_mode(False):
                memory = torch.empty(value.numel(), dtype=torch.float32, device="cpu")
        lent[place] = memory
        return memory.as_strided(value.shape, value.stride()).copy_(value)

    def clear(self) -> None:
        """Give the memory back."""
        self._memory.clear()


def _fits(tensor: Tensor) -> bool:
    """True for an ordinary tensor whose elements lie side by side, in whatever order."""
    if not (is_plain(tensor) and tensor.is_cpu):
        return False
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


SCRATCH = Scratch()
"""Memory for the operands of rehearsed ops; given back at the end of a rehearsal."""


def _accumulate(op: Kernel) -> Kernel:
    """Half operands, fp32 accumulation, one rounding of each result."""

    def kernel(args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
        result = SCRATCH.call(op, args, kwargs)
        if isinstance(result, tuple):
            return tuple(_round(value, dtype) for value in result)
        return _round(result, dtype)

    return kernel


def _convolution_backward(args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    """Backward pass of a convolution, with a better sum for the input gradient of wide 1x1 ones.

    oneDNN adds up a 1x1 kernel's channels one after the other, and with thousands of them 99.7% of
    the results are correctly rounded. As the sum of shorter matrix products they reach 99.8%.
    """
    backward = _accumulate(_aten.convolution_backward.default)
    gradient, x, weight, biases, *geometry, groups, wanted = args
    pointwise = list(geometry) == [[1, 1], [0, 0], [1, 1], False, [0, 0]] and groups == 1
    wide = weight.dim() == 4 and weight.shape[0] >= 1024 and weight.shape[2:].numel() == 1
    if not (pointwise and wide and wanted[0]):
        return backward(args, kwargs, dtype)
    columns = widen(weight).flatten(1).t().split(512, dim=1)
    rows = widen(gradient).flatten(2).split(512, dim=1)
    dx = torch.matmul(columns[0], rows[0])
    for column, row in zip(columns[1:], rows[1:], strict=True):
        dx += torch.matmul(column, row)
    dx = dx.view(x.shape)
    rest = (gradient, x, weight, biases, *geometry, groups, [False, *wanted[1:]])
    return (_round(dx, dtype), *backward(rest, kwargs, dtype)[1:])


def _normalise(op: Kernel) -> Kernel:
    """Batch norm on half images with fp32 statistics: only the image-shaped result is rounded."""

    def kernel(args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
        first, *rest = SCRATCH.call(op, args, kwargs)
        return (_round(first, dtype), *rest)

    return kernel


_ACCUMULATED = (
    _aten.convolution.default,
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten.baddbmm.default,
    _aten.addbmm.default,
    _aten.mv.default,
    _aten.addmv.default,
    _aten.dot.default,
    _aten.vdot.default,
    _aten.addr.default,
)
# Sums that a GPU takes in fp32 and a CPU in half, or not at all.
_SUMMED = (
    _aten.avg_pool2d_backward.default,
    _aten.avg_pool3d.default,
    _aten.avg_pool3d_backward.default,
    _aten.col2im.default,
    _aten.embedding_dense_backward.default,
)
_NORMALISED = (
    _aten.native_batch_norm.default,
    _aten._native_batch_norm_legit.default,
    _aten.native_batch_norm_backward.default,
)
_ARITHMETIC: dict[Any, Kernel] = {op: _accumulate(op) for op in (*_ACCUMULATED, *_SUMMED)}
_ARITHMETIC |= {op: _normalise(op) for op in _NORMALISED}
_ARITHMETIC[_aten.convolution_backward.default] = _convolution_backward
_ARITHMETIC |= attention.KERNELS

PRODUCTS = frozenset(_ARITHMETIC)
"""The ops that are computed as tensor cores compute them."""

_AUTOCAST = torch._C.DispatchKey.AutocastCPU
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


@cache
def _is_composite(op: Any) -> bool:
    """True for an op composed of others."""
    if not torch._C._dispatch_has_kernel(op.name()):  # of Python alone, as prim::device
        return False
    return torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), _COMPOSITE.name)


_NONE: Mapping[Any, Kernel] = {}
_observers: list[Kernel] = []


@contextmanager
def observing(observer: Kernel) -> Iterator[None]:
    """Call ``observer(op, arguments, result)`` for each rehearsed op inside the context.

    The copies that a rehearsed op makes for itself stay hidden from the observer.
    """
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def is_observed() -> bool:
    """True within ``observing``."""
    return bool(_observers)


class _Parts(threading.local):
    """Whether this thread is within the parts of an op that autocast has cast."""

    is_cast = False


class TensorCores(TorchDispatchMode):
    """Computes some ops as tensor cores do, and everything else as it comes.

    Args:
        kernels: by op; each takes the op's arguments and the operands' dtype. If left out, the
            arithmetic of half precision.
        dtypes: the operands that are computed so.
        composites: by op; composite ops on such operands that have a kernel of their own.
    """

    def __init__(
        self,
        kernels: Mapping[Any, Kernel] = _ARITHMETIC,
        dtypes: Collection[torch.dtype] = HALF,
        composites: Mapping[Any, Kernel] = _NONE,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kernels, self._dtypes, self._composites = kernels, dtypes, composites
        self._parts = _Parts()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled within a rehearsal; to say so at each op would take longer than most.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kernel = self._kernels.get(func)
        if kernel is not None:
            dtype = self._dtype_among(args)
            if dtype is not None:
                if not _observers:
                    return kernel(args, kwargs or {}, dtype)
                with _disable_current_modes():
                    result = kernel(args, kwargs or {}, dtype)
                for observer in _observers:
                    observer(func, args, result)
                return result
        # Nothing takes composite ops apart there before they arrive here.
        elif torch.is_inference_mode_enabled() and _is_composite(func):
            return self._in_parts(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))

    def _in_parts(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A composite op by its parts, with autocast for them where the op was called with it."""
        compute = self._composites.get(op)
        if compute is None or self._dtype_among(args) is None:
            compute = partial(op._op_dk, _COMPOSITE)
        # Behind an op that autocast has cast, its parts are computed as they come.
        was_cast = self._parts.is_cast
        self._parts.is_cast = was_cast or op.name() in CAST
        with torch._C._RestorePythonTLSSnapshot():  # type: ignore[attr-defined]
            is_off = torch._C._dispatch_tls_is_dispatch_key_excluded(_AUTOCAST)
        was_off = torch._C._dispatch_tls_is_dispatch_key_excluded(_AUTOCAST)
        torch._C._dispatch_tls_set_dispatch_key_excluded(_AUTOCAST, is_off or self._parts.is_cast)
        try:
            with self:
                return compute(*args, **kwargs)
        finally:
            torch._C._dispatch_tls_set_dispatch_key_excluded(_AUTOCAST, was_off)
            self._parts.is_cast = was_cast

    def _dtype_among(self, args: Sequence[Any]) -> torch.dtype | None:
        for value in args:
            if isinstance(value, Tensor) and value.dtype in self._dtypes:
                return value.dtype
            if isinstance(value, list) and (found := self._dtype_among(value)) is not None:
                return found
        return None
