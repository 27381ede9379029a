"""Stand-ins for the names of ``torch.cuda`` and ``torch.accelerator``, without a GPU. Data mostly.

A CPU computes in the order of the program, which is one of the orders that streams allow: so
streams and events need to do nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["ACCELERATOR", "CUDA", "DEVICE", "NVTX"]

DEVICE = torch.device("cuda", 0)
"""The device that every tensor says it is on."""
_NAME = "a GPU rehearsed on this CPU"
_CAPABILITY = (8, 0)  # bf16 and tf32, and no fp8
_MEMORY = 80 * 2**30  # bytes; none of it is ever used


class _Context:
    """A context that does nothing, for a device or a stream to be chosen."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.idx = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Event:
    """A moment of the program."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._moment = 0.0

    def record(self, stream: Any = None) -> None:
        """Keep the moment."""
        self._moment = time.perf_counter()

    def elapsed_time(self, end: _Event) -> float:
        """Milliseconds from this moment to another."""
        return 1000.0 * (end._moment - self._moment)

    def query(self) -> bool:
        """True: all before it is done."""
        return True

    def wait(self, stream: Any = None) -> None:
        """Nothing to wait for."""

    def synchronize(self) -> None:
        """Nothing to wait for."""


class _Stream(_Context):
    """A stream whose work is done as soon as it is given."""

    device = DEVICE
    cuda_stream = stream_id = device_index = priority = 0

    def record_event(self, event: _Event | None = None) -> _Event:
        """The present moment."""
        event = event or _Event()
        event.record()
        return event

    def query(self) -> bool:
        """True: all is done."""
        return True

    def is_capturing(self) -> bool:
        """False: there are no graphs."""
        return False

    def synchronize(self, *_: Any) -> None:
        """Nothing to wait for."""

    wait_stream = wait_event = synchronize


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _counts(*_: Any, **__: Any) -> dict[str, Any]:
    return defaultdict(int)


def _rng_state(*_: Any, **__: Any) -> Tensor:
    """No state: random numbers are the CPU's, whose own state is kept beside a GPU's."""
    return torch.zeros(16, dtype=torch.uint8)


def _properties(*_: Any, **__: Any) -> SimpleNamespace:
    return SimpleNamespace(
        name=_NAME,
        major=_CAPABILITY[0],
        minor=_CAPABILITY[1],
        total_memory=_MEMORY,
        multi_processor_count=108,
        warp_size=32,
        is_integrated=False,
        is_multi_gpu_board=False,
        max_threads_per_multi_processor=2048,
    )


_none, _zero = _always(None), _always(0)
_BYTES = [
    f"{most}{kind}"
    for most in ("", "max_")
    for kind in ("memory_allocated", "memory_cached", "memory_reserved")
]
_RESETS = (
    *("reset_accumulated_host_memory_stats", "reset_accumulated_memory_stats"),
    *("reset_max_memory_allocated", "reset_max_memory_cached"),
    *("reset_peak_host_memory_stats", "reset_peak_memory_stats"),
)
_SETTINGS = (
    *("init", "_lazy_call", "ipc_collect", "empty_cache", "synchronize", "set_device"),
    *("manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_rng_state_all"),
    *("set_stream", "set_per_process_memory_fraction", "set_sync_debug_mode"),
)

CUDA: dict[str, Any] = {
    "is_available": _always(True),
    "is_initialized": _always(True),
    "is_bf16_supported": _always(True),
    "is_tf32_supported": _always(True),
    "is_current_stream_capturing": _always(False),
    "_is_in_bad_fork": _always(False),
    "can_device_access_peer": _always(False),
    "device_count": _always(1),
    "current_device": _zero,
    "get_device_name": _always(_NAME),
    "get_device_capability": _always(_CAPABILITY),
    "get_device_properties": _properties,
    "get_arch_list": _always(["sm_80"]),
    "get_gencode_flags": _always(""),
    "get_allocator_backend": _always("native"),
    "get_per_process_memory_fraction": _always(1.0),
    "get_sync_debug_mode": _zero,
    "mem_get_info": _always((_MEMORY, _MEMORY)),
    "memory_stats": _counts,
    "memory_stats_as_nested_dict": _counts,
    "host_memory_stats": _counts,
    "host_memory_stats_as_nested_dict": _counts,
    "memory_snapshot": _always([]),
    "memory_summary": _always("no memory of a GPU"),
    "list_gpu_processes": _always("no process on a GPU"),
    "get_rng_state": _rng_state,
    "get_rng_state_all": lambda: [_rng_state()],
    "initial_seed": torch.initial_seed,
    "default_generators": (torch.default_generator,),
    "device": _Context,
    "device_of": _Context,
    "stream": _Context,
    "StreamContext": _Context,
    "Stream": _Stream,
    "Event": _Event,
    "current_stream": lambda *_, **__: _Stream(),
    "default_stream": lambda *_, **__: _Stream(),
    **dict.fromkeys((*_BYTES, "device_memory_used", "memory_usage", "utilization"), _zero),
    **dict.fromkeys(("temperature", "power_draw", "clock_rate"), _zero),
    **dict.fromkeys((*_RESETS, *_SETTINGS), _none),
}
"""Names of ``torch.cuda``, and what is in their place; ``Stream`` and ``Event`` are torch's too."""

ACCELERATOR: dict[str, Any] = {
    "is_available": _always(True),
    "device_count": _always(1),
    "current_accelerator": _always(torch.device("cuda")),
    "current_device_index": _zero,
    "current_device_idx": _zero,
    "current_stream": lambda *_, **__: _Stream(),
    "device_index": _Context,
    "get_device_capability": _counts,
    "get_memory_info": _always((_MEMORY, _MEMORY)),
    "memory_stats": _counts,
    **dict.fromkeys(_BYTES, _zero),
    **dict.fromkeys(
        (
            *("empty_cache", "synchronize", "set_device_index", "set_device_idx", "set_stream"),
            *("reset_accumulated_memory_stats", "reset_peak_memory_stats"),
        ),
        _none,
    ),
}
"""Names of ``torch.accelerator``, and what is in their place."""

NVTX: dict[str, Any] = {
    "range": _Context,
    **dict.fromkeys(("mark", "range_push", "range_start"), _zero),
    **dict.fromkeys(("range_pop", "range_end"), _zero),
}
"""Names of ``torch.cuda.nvtx``, and what is in their place."""
