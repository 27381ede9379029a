"""Code that says "cuda" within a rehearsal, understood of the CPU that computes in a GPU's place.

That is autocast regions, the decorators of custom autograd functions, and the question whether
autocast is on. Devices and tensors are not renamed.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.amp import autocast_mode

__all__ = ["autocast_on_a_gpu", "cuda_means_cpu"]

_OTHER = {"cpu": "cuda", "cuda": "cpu"}

State = tuple[bool, torch.dtype]


class _States(threading.local):
    """What the other device's autocast was before each region, by thread as autocast itself is."""

    def __init__(self) -> None:
        self.stack: list[State] = []


@contextmanager
def cuda_means_cpu(left: Callable[[], None]) -> Iterator[None]:
    """Let each region of autocast for "cuda" or "cpu" be one for both, inside the context.

    So ``torch.autocast("cuda", enabled=False)`` is an fp32 island, ``custom_fwd`` for "cuda" casts
    its inputs, and ``torch.is_autocast_enabled()`` is true where it is on a GPU. A region that was
    made before, where there is no GPU, has been switched off by torch with a warning and stays off.

    Args:
        left: is called at the end of each outermost region of this thread.
    """
    ours, others = threading.get_ident(), _States()
    kind: Any = autocast_mode.autocast
    make, enter, leave, cast = kind.__init__, kind.__enter__, kind.__exit__, autocast_mode._cast

    @functools.wraps(make)
    def made(
        region: Any,
        device_type: str,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        # Torch would switch it off where there is no GPU.
        make(region, device_type, dtype, enabled and device_type != "cuda", cache_enabled)
        if device_type == "cuda":
            region._enabled = enabled

    @functools.wraps(enter)
    def entered(region: Any) -> Any:
        result = enter(region)
        if region.device in _OTHER:
            others.stack.append(_state(_OTHER[region.device]))
            _set(_OTHER[region.device], _state(region.device))
        return result

    @functools.wraps(leave)
    def exited(region: Any, *details: Any) -> Any:
        if region.device in _OTHER and others.stack:  # none if it was entered before
            _set(_OTHER[region.device], others.stack.pop())
            if not others.stack and threading.get_ident() == ours:
                left()
        return leave(region, *details)

    def cast_for(value: Any, device_type: str, dtype: torch.dtype) -> Any:
        return cast(value, "cpu" if device_type == "cuda" else device_type, dtype)

    of_cuda = _state("cuda")
    kind.__init__, kind.__enter__, kind.__exit__ = made, entered, exited
    autocast_mode._cast = cast_for
    if torch.is_autocast_enabled("cpu"):
        _set("cuda", _state("cpu"))
    try:
        yield
    finally:
        _set("cuda", of_cuda)
        kind.__init__, kind.__enter__, kind.__exit__ = make, enter, leave
        autocast_mode._cast = cast


@contextmanager
def autocast_on_a_gpu(dtype: torch.dtype) -> Iterator[None]:
    """CUDA autocast as a region would switch it on if there were a GPU, for tensors without values.

    Args:
        dtype: a half.
    """
    before = _state("cuda")
    _set("cuda", (True, dtype))
    try:
        yield
    finally:
        _set("cuda", before)


def _state(device: str) -> State:
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)


def _set(device: str, state: State) -> None:
    torch.set_autocast_enabled(device, state[0])
    torch.set_autocast_dtype(device, state[1])
