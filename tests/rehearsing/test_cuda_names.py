"""The stand-ins for torch.cuda name what torch has, and answer as it does."""

from __future__ import annotations

import pytest
import torch

from halftrack.rehearsing.cuda_names import ACCELERATOR, CUDA, DEVICE, NVTX


@pytest.mark.parametrize(
    ("owner", "names"),
    [(torch.cuda, CUDA), (torch.cuda.nvtx, NVTX)],
    ids=["cuda", "nvtx"],
)
def test_they_name_what_torch_has(owner, names) -> None:
    newer = {"power_draw", "temperature", "clock_rate", "device_memory_used", "utilization"}
    assert {name for name in names if not hasattr(owner, name)} <= newer


def test_they_agree_with_one_another() -> None:
    major, minor = CUDA["get_device_capability"](0)
    properties = CUDA["get_device_properties"]("cuda")
    assert (properties.major, properties.minor) == (major, minor)
    assert properties.name == CUDA["get_device_name"]()
    assert CUDA["mem_get_info"]()[1] == properties.total_memory
    assert ACCELERATOR["device_count"]() == CUDA["device_count"]() == 1
    assert DEVICE.index == CUDA["current_device"]()
    assert CUDA["get_arch_list"]() == [f"sm_{major}{minor}"]


def test_events_tell_the_time_between_them() -> None:
    first, second = CUDA["Event"](enable_timing=True), CUDA["Stream"]().record_event()
    first.record()
    second.record()
    second.synchronize()
    assert 0 <= first.elapsed_time(second) < 1e4
    assert second.query()


def test_contexts_do_nothing() -> None:
    stream = CUDA["Stream"]()
    stream.wait_stream(CUDA["current_stream"]())
    with CUDA["stream"](stream), CUDA["device"](0) as device, NVTX["range"]("step"):
        assert device.idx == 0
    assert stream.query()
    assert not stream.is_capturing()
