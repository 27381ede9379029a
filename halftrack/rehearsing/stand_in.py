"""A GPU stood in for by this CPU: whatever says "cuda" runs here, without a change of the code.

One mechanism sees the devices: a mode that every function of torch passes. Names that would reach a
driver (``torch.cuda``, NCCL, pinned memory, compilation) are replaced, and put back at the end.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._dynamo  # any optimizer imports it, and it takes names of torch.cuda apart
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.amp import autocast_mode
from torch.overrides import TorchFunctionMode

from halftrack.precision.as_cuda import cuda_means_cpu
from halftrack.rehearsing.cuda_names import ACCELERATOR, CUDA, DEVICE, NVTX
from halftrack.rehearsing.unsupported import NoStandInError

__all__ = ["gpu_stood_in"]

_CPU = torch.device("cpu")
_CUDA = re.compile(r"cuda(:\d+)?")
_TOLD_TRUTH = re.compile(r"(torch|halftrack)\.(?!optim\.)")
"""Modules that are told where a tensor is, to reach it; optimizers have rules for a GPU."""
_LEFT = {"cudaStatus", "check_error", "CudaError", "DeferredCudaCallError"}
"""Names of ``torch.cuda`` that need no driver."""


@contextmanager
def gpu_stood_in() -> Iterator[set[torch.dtype]]:
    """Let this CPU be the GPU ``cuda:0``, inside the context and in this process.

    Tensors are made and stay on the CPU, whatever device they are asked for on, and every one says
    that it is on ``cuda:0``. Compilation is left out. NCCL is gloo, with one process.

    Yields:
        the dtypes of the autocast regions that were entered so far.

    Raises:
        NoStandInError: from within, for what no CPU can stand in for: CUDA graphs, several GPUs or
            processes, memory pools and the like.
    """
    dtypes: set[torch.dtype] = set()
    with ExitStack() as stack:
        for owner, name, new in (*_cuda(), *_devices(), *_processes()):
            _replace(stack, owner, name, new)
        _replace(stack, autocast_mode.autocast, "__enter__", _noting(dtypes))
        stack.enter_context(cuda_means_cpu(lambda: None))
        stack.enter_context(_Devices())
        had_group = dist.is_available() and dist.is_initialized()
        try:
            yield dtypes
        finally:
            if not had_group and dist.is_available() and dist.is_initialized():
                dist.destroy_process_group()


Replaced = tuple[Any, str, Any]
"""A name of an object or module, and what takes its place."""


def _replace(stack: ExitStack, owner: Any, name: str, new: Any) -> None:
    """Put something in the place of a name that is there, until the stack is left."""
    if not hasattr(owner, name):
        return
    if name in vars(owner):
        stack.callback(setattr, owner, name, vars(owner)[name])
    else:  # inherited
        stack.callback(delattr, owner, name)
    setattr(owner, name, new)


def _cuda() -> Iterator[Replaced]:
    cuda = torch.cuda
    rest = {
        name: _refusing(f"torch.cuda.{name}", getattr(cuda, name))
        for name in cuda.__all__
        if name not in _LEFT and callable(getattr(cuda, name))
    }
    typed = {name: getattr(torch, name, None) for name in rest if name.endswith("Tensor")}
    typed |= {name: getattr(torch, name, None) for name in rest if name.endswith("Storage")}
    names = {**rest, **typed, **CUDA}
    for owner in (cuda, cuda.memory, cuda.random, cuda.streams, cuda.graphs):
        for name, new in names.items():
            yield owner, name, new
    # Called by torch itself where something reaches for a driver after all.
    yield cuda, "_lazy_init", _refusing("a tensor or generator on a GPU")
    for name, new in NVTX.items():
        yield cuda.nvtx, name, new
    for name, new in ACCELERATOR.items():
        yield torch.accelerator, name, new
    for name in ("Stream", "Event"):
        yield torch, name, CUDA[name]


def _devices() -> Iterator[Replaced]:
    yield Tensor, "cuda", _cuda_method
    yield Tensor, "pin_memory", lambda tensor, *_, **__: tensor
    yield Tensor, "record_stream", lambda *_: None
    yield torch.UntypedStorage, "cuda", lambda storage, *_, **__: storage
    yield torch, "Generator", _generator()
    yield torch, "set_default_device", lambda device: None
    yield torch, "compile", _compile
    yield nn.Module, "compile", lambda *_, **__: None
    yield torch.serialization, "_get_restore_location", _restore_location()
    # A mode is of one thread alone, and none while torch handles Tensor.backward.
    yield threading.Thread, "start", _start_with_devices(threading.Thread.start)
    run_backward: Any = torch.autograd._engine_run_backward  # type: ignore[attr-defined]
    yield torch.autograd, "_engine_run_backward", _with_devices(run_backward)


def _processes() -> Iterator[Replaced]:
    yield nn.DataParallel, "forward", lambda parallel, *args, **kw: parallel.module(*args, **kw)
    yield mp, "spawn", _spawn
    if not dist.is_available():
        return
    distributed = nn.parallel.DistributedDataParallel
    yield distributed, "__init__", _without(distributed.__init__, "device_ids", "output_device")
    yield dist, "init_process_group", _one_process(dist.init_process_group)
    yield dist, "new_group", _without(dist.new_group, "backend", "device_id")
    yield dist, "barrier", _without(dist.barrier, "device_ids")
    yield dist, "is_nccl_available", lambda: True


class _Devices(TorchFunctionMode):
    """Takes "cuda" for "cpu" in what functions are given, and the reverse in what tensors say."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        if func in _SAID:
            told_truth = _TOLD_TRUTH.match(sys._getframe(1).f_globals.get("__name__", ""))
            on_cpu = not told_truth and args[0].device == _CPU
            return _SAID[func] if on_cpu else func(*args)
        if func is Tensor.to and len(args) > 1 and type(args[1]) is int:
            args = (args[0], _CPU, *args[2:])
        if kwargs:
            kwargs = {name: _here(value) for name, value in kwargs.items()}
            if type(kwargs.get("device")) is int:
                kwargs["device"] = _CPU
            if kwargs.get("pin_memory"):
                kwargs["pin_memory"] = False
        return func(*map(_here, args), **(kwargs or {}))


def _with_devices(original: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the devices, wherever it is called."""

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _Devices():
            return original(*args, **kwargs)

    return call


def _start_with_devices(original: Callable[[threading.Thread], None]) -> Callable[..., None]:
    """The start of a thread that has the devices too."""

    @functools.wraps(original)
    def start(thread: threading.Thread) -> None:
        thread.run = _with_devices(thread.run)  # type: ignore[method-assign]
        original(thread)

    return start


_SAID: dict[Any, Any] = {
    Tensor.device.__get__: DEVICE,
    Tensor.is_cuda.__get__: True,  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: False,  # type: ignore[attr-defined]
    Tensor.get_device: 0,
}
"""Answers of a tensor on the CPU to questions about its device."""


def _here(value: Any) -> Any:
    """The CPU in the place of a GPU; anything else as it is."""
    if isinstance(value, torch.device):
        return _CPU if value.type == "cuda" else value
    if type(value) is str and value.startswith(("cuda", "torch.cuda.")):
        if _CUDA.fullmatch(value):
            return "cpu"
        return value.replace("torch.cuda.", "torch.")  # the name of a type
    return value


def _cuda_method(tensor: Tensor, *_: Any, memory_format: Any = None, **__: Any) -> Tensor:
    return tensor if memory_format is None else tensor.to(memory_format=memory_format)


def _generator() -> type:
    original = torch.Generator

    class Kind(type(original)):  # type: ignore[misc]
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, original)

    class Generator(original, metaclass=Kind):  # type: ignore[misc, valid-type]
        def __new__(cls, device: Any = "cpu") -> Any:
            return original(_CPU if isinstance(device, int) else _here(device))

    return Generator


def _compile(model: Any = None, **_: Any) -> Any:
    """Compilation left out: the code runs as it is written."""
    return (lambda function: function) if model is None else model


def _restore_location() -> Callable[[Any], Any]:
    original: Any = torch.serialization._get_restore_location

    def restore_location(map_location: Any) -> Any:
        if map_location is None or _here(map_location) is not map_location:
            return lambda storage, location: storage
        if isinstance(map_location, dict):
            map_location = {name: _here(value) for name, value in map_location.items()}
        return original(map_location)

    return restore_location


def _noting(dtypes: set[torch.dtype]) -> Callable[[Any], Any]:
    original: Any = autocast_mode.autocast.__enter__

    @functools.wraps(original)
    def enter(region: Any) -> Any:
        if region._enabled:
            dtypes.add(region.fast_dtype)
        return original(region)

    return enter


def _refusing(name: str, original: Any = None) -> Any:
    """A function that is refused, or a class, which may be imported and named."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise NoStandInError(f"{name}: no CPU can stand in for it; leave it out of this run")

    if isinstance(original, type):
        return type(original.__name__, (), {"__init__": refuse})
    return refuse if original is None else functools.wraps(original)(refuse)


def _spawn(
    function: Callable[..., Any], args: tuple[Any, ...] = (), nprocs: int = 1, **_: Any
) -> None:
    """One process needs no other: its function runs in this one."""
    if nprocs != 1:
        raise NoStandInError(f"torch.multiprocessing.spawn of {nprocs} processes: expected 1")
    function(0, *args)


def _without(original: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """A function that is called without some of its arguments."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        for name in names:
            given.arguments.pop(name, None)
        return original(*given.args, **given.kwargs)

    return call


def _one_process(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def init(
        backend: str | None = None,
        init_method: str | None = None,
        timeout: Any = None,
        world_size: int = -1,
        *_: Any,
        **__: Any,
    ) -> None:
        size = world_size if world_size > 0 else int(os.environ.get("WORLD_SIZE", "1"))
        if size != 1:
            raise NoStandInError(f"torch.distributed with {size} processes: expected one")
        store = dist.HashStore()  # type: ignore[attr-defined]
        original("gloo", store=store, rank=0, world_size=1)

    return init
