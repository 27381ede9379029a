"""A GPU is stood in for by the CPU, and everything of it is taken away again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.amp import autocast_mode

from halftrack.rehearsing.stand_in import gpu_stood_in
from halftrack.rehearsing.unsupported import NoStandInError


@pytest.fixture
def gpu() -> Iterator[set[torch.dtype]]:
    with gpu_stood_in() as dtypes:
        yield dtypes


def state() -> dict[str, Any]:
    """Everything that is changed meanwhile, and more."""
    owners = {
        "cuda": torch.cuda,
        "random": torch.cuda.random,
        "memory": torch.cuda.memory,
        "streams": torch.cuda.streams,
        "graphs": torch.cuda.graphs,
        "nvtx": torch.cuda.nvtx,
        "accelerator": torch.accelerator,
        "tensor": Tensor,
        "module": nn.Module,
        "parallel": nn.DataParallel,
        "distributed": nn.parallel.DistributedDataParallel,
        "dist": dist,
        "mp": torch.multiprocessing,
        "thread": threading.Thread,
        "storage": torch.UntypedStorage,
        "serialization": torch.serialization,
        "autocast": autocast_mode.autocast,
        "autograd": torch.autograd,
    }
    names = {f"{kind}.{n}": v for kind, owner in owners.items() for n, v in vars(owner).items()}
    return names | {
        "generator": torch.Generator,
        "compile": torch.compile,
        "stream": torch.Stream,
        "event": torch.Event,
        "default": torch.set_default_device,
        "modes": torch.overrides._get_current_function_mode_stack(),
        "autocast": torch.is_autocast_enabled("cuda"),
        "device": torch.ones(1).device,
        "environment": dict(os.environ),
    }


def test_nothing_of_it_stays() -> None:
    before = state()
    with gpu_stood_in():
        assert torch.cuda.is_available()
        assert torch.cuda.device_count() == torch.accelerator.device_count() == 1
        dist.init_process_group("nccl")
    after = state()
    assert before.keys() == after.keys()
    changed = {n for n in before if before[n] is not after[n] and before[n] != after[n]}
    assert not changed
    assert not dist.is_initialized()


def test_nothing_of_it_stays_after_an_error() -> None:
    before = state()
    with pytest.raises(KeyError), gpu_stood_in():
        raise KeyError
    after = state()
    assert not {n for n in before if before[n] is not after[n] and before[n] != after[n]}


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(2, device="cuda"),
        lambda: torch.zeros(2, device=torch.device("cuda", 1), pin_memory=True),
        lambda: torch.zeros(2).to("cuda:0", torch.float32, non_blocking=True),
        lambda: torch.zeros(2).to(device=0),
        lambda: torch.zeros(2).cuda(memory_format=torch.contiguous_format),
        lambda: torch.zeros(2).new_zeros(2, device="cuda"),
        lambda: torch.as_tensor([0.0, 0.0], device="cuda"),
        lambda: torch.zeros_like(torch.zeros(2), device="cuda"),
        lambda: nn.Linear(2, 2, device="cuda").bias * 0,
        lambda: torch.zeros(2).type(torch.cuda.FloatTensor),
        lambda: torch.zeros(2, device="cpu"),
    ],
)
def test_a_tensor_is_there_and_says_that_it_is_on_the_gpu(gpu, make) -> None:
    tensor = make()
    assert tensor.detach().numpy().tolist() == [0.0, 0.0]
    assert (tensor.device, tensor.get_device()) == (torch.device("cuda:0"), 0)
    assert tensor.is_cuda
    assert not tensor.is_cpu


def test_a_tensor_of_shapes_alone_stays_one(gpu) -> None:
    assert torch.zeros(2, device="meta").device.type == "meta"
    assert not torch.zeros(2, device="meta").is_cuda


def test_the_default_device_stays_the_cpu(gpu) -> None:
    torch.set_default_device("cuda")
    with torch.device("cuda"):
        assert torch.zeros(2).tolist() == [0.0, 0.0]


def test_dtypes_of_autocast_are_noted(gpu) -> None:
    with torch.autocast("cuda", enabled=False), torch.amp.autocast("cuda", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled("cuda")
    assert gpu == {torch.bfloat16}


def test_what_reaches_for_a_driver_is_refused(gpu) -> None:
    for name in ("CUDAGraph", "graph", "MemPool", "current_blas_handle", "caching_allocator_alloc"):
        with pytest.raises(NoStandInError, match=rf"^torch\.cuda\.{name}: no CPU can"):
            getattr(torch.cuda, name)(None)
    with pytest.raises(NoStandInError, match="tensor or generator"):
        torch.UntypedStorage(2, device="cuda")


@pytest.mark.parametrize("size", [2, -1])
def test_one_process_alone_is_stood_in_for(gpu, monkeypatch, size: int) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(NoStandInError, match="2 processes: expected one"):
        dist.init_process_group("nccl", world_size=size, rank=0)


def test_a_group_of_processes_within_is_gloos(gpu) -> None:
    dist.init_process_group(backend="cpu:gloo,cuda:nccl", init_method="env://")
    group = dist.new_group([0], backend="nccl")
    total = torch.ones(2, device="cuda")
    dist.all_reduce(total, group=group)
    dist.barrier(group, device_ids=[0])
    assert total.tolist() == [1.0, 1.0]
    assert dist.is_nccl_available()


def test_checkpoints_recompute_with_the_same_random_numbers(gpu) -> None:
    x = torch.ones(64, device="cuda", requires_grad=True)
    torch.utils.checkpoint.checkpoint(
        lambda x: nn.functional.dropout(x, 0.5), x, use_reentrant=False
    ).square().sum().backward()
    assert x.grad is not None
    assert set(x.grad.tolist()) == {0.0, 8.0}


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_code_within_a_backward_pass_has_the_gpu(gpu, use_reentrant: bool) -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x + x

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            assert grad.is_cuda
            return grad * torch.full((), 2.0, device="cuda")

    def part(x: Tensor) -> Tensor:
        return Double.apply(x * torch.ones(2, device="cuda"))

    x = torch.ones(2, device="cuda", requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(part, x, use_reentrant=use_reentrant)
    y.register_hook(lambda grad: grad + torch.ones(2, device="cuda:0"))
    (gradient,) = torch.autograd.grad(part(x).sum(), x)
    y.sum().backward()
    assert x.grad is not None
    assert (gradient.tolist(), x.grad.tolist()) == ([2.0, 2.0], [4.0, 4.0])


def test_streams_and_events_of_any_device_do_nothing(gpu) -> None:
    start, end = (torch.Event("cuda", enable_timing=True) for _ in "ab")
    start.record()
    with torch.Stream(device="cuda") as stream:
        stream.wait_stream(torch.accelerator.current_stream())
    end.record(stream)
    end.synchronize()
    assert start.elapsed_time(end) >= 0.0


def test_another_thread_has_the_devices_too(gpu) -> None:
    seen: list[Any] = []

    class Loader(threading.Thread):
        def run(self) -> None:
            seen.append(torch.zeros(2).to("cuda").is_cuda)

    def load() -> None:
        seen.append(torch.zeros(2, device="cuda").device.type)

    for thread in (Loader(), threading.Thread(target=load)):
        thread.start()
        thread.join()
    assert seen == [True, "cuda"]
