"""A GPU's half precision, rehearsed on a CPU: CUDA autocast's dtypes and tensor-core arithmetic.

Two parts. Above autograd, the ``AutocastCPU`` dispatch key gets CUDA's op lists instead of the
CPU's, so that casts are differentiated and ops inside composites are seen as CUDA autocast sees
them. Below autograd, a dispatch mode computes the heavy ops as tensor cores do: half operands, fp32
accumulation, one rounding, in the backward pass too.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from halftrack.precision import recurrent
from halftrack.precision.as_cuda import cuda_means_cpu
from halftrack.precision.asked_casts import asked_kernel
from halftrack.precision.attention import attention
from halftrack.precision.autocast_lists import (
    CUDA_ONLY,
    FP32,
    FP32_SET_DTYPE,
    LOWER_PRECISION,
    NORMS,
    RECURRENT,
    WIDEST,
)
from halftrack.precision.called_ops import noted
from halftrack.precision.dtypes import HALF
from halftrack.precision.tensor_cores import SCRATCH, TensorCores

__all__ = ["is_rehearsing", "rehearsal"]

_aten = torch.ops.aten
_KEY = "AutocastCPU"
_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)

Kernel = Callable[..., Any]


# Half copies of weights, until the end of the outermost autocast region.
_cast_weights: dict[tuple[int, torch.dtype, bool], tuple[Tensor, int, Tensor]] = {}


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        if not value.is_floating_point() or value.dtype in (dtype, torch.float64):
            return value
        if value.device.type != "cpu":
            return value
        if dtype in HALF and value.is_leaf and value.requires_grad and value.dtype == torch.float32:
            return _cast_weight(value, dtype)
        return value.to(dtype)
    if isinstance(value, list | tuple):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def _cast_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight's half copy, shared by all its uses.

    Unlike torch's cache it knows the weight's version, so that an in-place change (an optimizer
    step, a swapped-in average) never meets a stale copy.
    """
    key = (id(weight), dtype, torch.is_grad_enabled())
    kept = _cast_weights.get(key)
    if kept is not None and kept[1] == weight._version:
        return kept[2]
    cast = weight.to(dtype)
    if not _cast_weights and cast.requires_grad:
        cast.register_hook(_tell_of_backward_outside)
    # The weight is kept with its copy, so that its id cannot be given to another tensor.
    _cast_weights[key] = (weight, weight._version, cast)
    return cast


def _tell_of_backward_outside(gradient: Tensor) -> None:
    if not _depth:
        warnings.warn(
            "the backward pass of a rehearsed forward pass ran outside the rehearsal, in the CPU's "
            "own half precision: put it within precision.arithmetic(device) too",
            stacklevel=2,
        )


def _widest(arguments: Any, widest: torch.dtype) -> torch.dtype:
    """The wider of half and fp32 among tensors; fp64 takes no part, as in ATen's prioritize."""
    for value in arguments:
        if isinstance(value, list | tuple):
            widest = _widest(value, widest)
        elif isinstance(value, Tensor) and value.dtype == torch.float32:
            widest = torch.float32
    return widest


def _to_half(op: Kernel) -> Kernel:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            half = torch.get_autocast_dtype("cpu")
            named = {name: _cast(value, half) for name, value in kwargs.items()}
            return op(*[_cast(value, half) for value in args], **named)

    return kernel


def _to_fp32(op: Kernel) -> Kernel:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            named = {name: _cast(value, torch.float32) for name, value in kwargs.items()}
            return op(*[_cast(value, torch.float32) for value in args], **named)

    return kernel


def _to_widest(op: Kernel) -> Kernel:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            dtype = _widest((*args, *kwargs.values()), torch.get_autocast_dtype("cpu"))
            named = {name: _cast(value, dtype) for name, value in kwargs.items()}
            return op(*[_cast(value, dtype) for value in args], **named)

    return kernel


def _with_fp32_dtype(op: Kernel) -> Kernel:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()))
        eligible = first.is_floating_point() and first.dtype != torch.float64
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            if eligible and kwargs.get("dtype") is None and not _dtype_among(args):
                kwargs["dtype"] = torch.float32
            return op(*args, **kwargs)

    return kernel


def _norm(plain: Kernel, with_dtype: Kernel) -> Kernel:
    """A norm through its overload with a dtype, whose other arguments have no defaults."""

    def kernel(x: Tensor, p: Any = 2, *where: Any, **kwargs: Any) -> Any:
        if not x.is_floating_point() or x.dtype == torch.float64:
            with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
                return plain(x, p, *where, **kwargs)
        if where or kwargs:
            dim, keepdim = (*where, False)[:2] if where else (kwargs["dim"], False)
            where = (dim, kwargs.get("keepdim", keepdim))
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            return with_dtype(x, p, *where, dtype=torch.float32)

    return kernel


def _dtype_among(args: tuple[Any, ...]) -> bool:
    return any(isinstance(value, torch.dtype) for value in args)


def _refuse_binary_cross_entropy(*args: Any, **kwargs: Any) -> Tensor:
    raise RuntimeError(
        "binary_cross_entropy and BCELoss are unsafe to autocast: a sigmoid in half precision "
        "reaches 0 and 1, where the loss is infinite. Use binary_cross_entropy_with_logits."
    )


def _transform(op: Any) -> Kernel:
    """A Fourier transform, which no CPU computes in half."""

    def kernel(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.dtype in HALF:
            gpu = "refuses it" if x.dtype == torch.bfloat16 else "computes powers of two alone"
            raise NotImplementedError(
                f"{op} of {x.dtype}, {tuple(x.shape)}: a GPU {gpu}, a CPU none of it; compute it "
                "within fp32_island, or of x.float(), on both"
            )
        return op._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, x, *args, **kwargs)

    return kernel


def _op(full_name: str) -> Any:
    space, _, name = full_name.partition("::")
    base, _, overload = name.partition(".")
    return getattr(getattr(getattr(torch.ops, space), base), overload or "default")


def _overload(name: str) -> Any:
    return _op(f"aten::{name}")


def _kernels() -> dict[str, Kernel]:
    kernels: dict[str, Kernel] = {
        name: _to_half(_overload(name)) for name in (*LOWER_PRECISION, *RECURRENT)
    }
    kernels |= {name: _to_fp32(_overload(name)) for name in FP32}
    kernels |= {name: _to_widest(_overload(name)) for name in WIDEST}
    kernels |= {name: _with_fp32_dtype(_overload(name)) for name in FP32_SET_DTYPE}
    for name, with_dtype in NORMS.items():
        kernels[name] = _norm(_overload(name), _overload(with_dtype))
    kernels["binary_cross_entropy"] = _refuse_binary_cross_entropy
    return {f"aten::{name}": kernel for name, kernel in kernels.items()}


def _other_kernels(known: Collection[str]) -> dict[str, Kernel]:
    """Kernels for the ops of all libraries that autocast knows and our lists do not."""
    registered = torch._C._dispatch_get_registrations_for_dispatch_key
    on_gpu = {*registered("AutocastCUDA")} - {f"aten::{name}" for name in CUDA_ONLY} - {*known}
    kernels: dict[str, Kernel] = {name: asked_kernel(_op(name)) for name in on_gpu}
    # What CPU autocast lists and CUDA autocast does not must pass as if autocast were off.
    on_cpu_alone = {*registered(_KEY)} - on_gpu - {*known}
    return kernels | dict.fromkeys(on_cpu_alone, torch.library.fallthrough_kernel)


_TRANSFORMS = [
    f"fft_{kind}{name}"
    for name in ("fft", "fft2", "fftn")
    for kind in ("", "i", "r", "ir", "h", "ih")
]
# What a GPU has one kernel for and a CPU composes or refuses, whether autocast is on or not.
_FUSED: dict[str, Kernel] = {
    name: noted(name, kernel)
    for name, kernel in {
        "scaled_dot_product_attention": attention,
        **recurrent.RECURRENT,
        **{name: _transform(_overload(name)) for name in _TRANSFORMS},
    }.items()
}
_depth = 0
_thread: int | None = None
_libraries = dict[str, torch.library.Library]()
_known_kernels: dict[str, Kernel] = {}


def is_rehearsing() -> bool:
    """True within ``rehearsal``."""
    return _depth > 0


@contextmanager
def rehearsal() -> Iterator[None]:
    """Compute with a GPU's half precision on a CPU, forward and backward, inside the context.

    It decides how ``torch.autocast('cpu', dtype)`` casts and how half tensors are multiplied; it
    does not switch autocast on. Nested entries count once. The dispatch key is the process's: one
    thread rehearses at a time. Another thread's ``torch.autocast('cpu')`` has CUDA's op lists
    meanwhile, and its attention and recurrent layers in half compute as here; its products stay its
    own. Worker processes that are forked inside inherit it.

    Raises:
        RuntimeError: while another thread rehearses.
    """
    global _depth, _thread
    if _depth:
        if _thread != threading.get_ident():
            raise RuntimeError(
                "another thread of this process rehearses half precision, which changes autocast "
                "for all threads: rehearse one after the other, or in processes of their own"
            )
        yield
        return
    _enter()
    _depth, _thread = 1, threading.get_ident()
    try:
        composites = {_overload(name): _FUSED[name] for name in _FUSED}
        with cuda_means_cpu(_cast_weights.clear), TensorCores(composites=composites):
            yield
    finally:
        _depth = 0
        _leave()


def _enter() -> None:
    if not _known_kernels:
        _known_kernels.update(_kernels())
    with warnings.catch_warnings():
        # Some releases of torch say so once, on the user's terminal.
        warnings.filterwarnings("ignore", "Warning only once for all operators")
        # Libraries may have come since the last time.
        for name, kernel in (_known_kernels | _other_kernels(_known_kernels)).items():
            _implement(name, kernel, _KEY)
        for name, kernel in _FUSED.items():
            _implement(f"aten::{name}", kernel, "AutogradCPU")


def _implement(full_name: str, kernel: Kernel, key: str) -> None:
    space, _, name = full_name.partition("::")
    if space not in _libraries:
        _libraries[space] = torch.library.Library(space, "IMPL")
    _libraries[space].impl(name, kernel, key, allow_override=True)


def _leave() -> None:
    _cast_weights.clear()
    SCRATCH.clear()
    while _libraries:
        _libraries.popitem()[1]._destroy()
