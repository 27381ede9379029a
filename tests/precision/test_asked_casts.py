"""Every op that CUDA autocast knows is cast in a rehearsal, those of other libraries too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision import ops

from halftrack.precision import Precision
from halftrack.precision.asked_casts import asked_kernel
from halftrack.precision.autocast_lists import CUDA_ONLY
from halftrack.precision.rehearsal import _kernels, _other_kernels, rehearsal

FP16, BF16 = Precision.named("fp16"), Precision.named("bf16")
NAMED = torch._C._dispatch_get_registrations_for_dispatch_key
HAS = torch._C._dispatch_has_kernel_for_dispatch_key
PASSES = torch._C._dispatch_kernel_for_dispatch_key_is_fallthrough
BOXES = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])


def maps(channels: int = 8) -> Tensor:
    return torch.arange(25.0 * channels).reshape(1, channels, 5, 5).mul(2.0**-8).half()


def deformed(weight: Tensor) -> Tensor:
    return ops.deform_conv2d(maps(2), torch.zeros(1, 18, 3, 3), weight)


# The result's dtype on a GPU: torchvision computes in fp32 and casts back.
PROBES: dict[str, tuple[Callable[[], Tensor], torch.dtype]] = {
    "aten::linalg_matrix_sqrth": (
        lambda: torch.ops.aten.linalg_matrix_sqrth(torch.eye(3).half()),
        torch.float32,
    ),
    "torchvision::deform_conv2d": (lambda: deformed(torch.ones(3, 2, 3, 3)), torch.float16),
    "torchvision::nms": (lambda: ops.nms(BOXES[:, 1:].half(), BOXES[:, 3], 0.5), torch.int64),
    "torchvision::ps_roi_align": (lambda: ops.ps_roi_align(maps(), BOXES, 2), torch.float16),
    "torchvision::ps_roi_pool": (lambda: ops.ps_roi_pool(maps(), BOXES, 2), torch.float16),
    "torchvision::roi_align": (lambda: ops.roi_align(maps(), BOXES, 2), torch.float16),
    "torchvision::roi_pool": (lambda: ops.roi_pool(maps(), BOXES, 2), torch.float16),
}


def test_every_op_that_cuda_autocast_knows_is_cast_or_has_no_kernel_on_a_cpu() -> None:
    known = NAMED("AutocastCUDA")
    assert len(known) > 100
    with rehearsal():
        cast = [n for n in known if HAS(n, "AutocastCPU") and not PASSES(n, "AutocastCPU")]
        assert {*known} - {*cast} == {f"aten::{name}" for name in CUDA_ONLY} & {*known}
        alone = {*NAMED("AutocastCPU")} - {*known}
        assert all(PASSES(n, "AutocastCPU") for n in alone - {*_kernels()})
    assert not any(HAS(f"aten::{n}", k) for n in CUDA_ONLY for k in ("CPU", "AutocastCPU"))


def test_every_op_that_cuda_autocast_is_asked_of_has_a_probe() -> None:
    asked = {n for n in _other_kernels(_kernels()) if n in NAMED("AutocastCUDA")}
    assert {n for n in asked if n.startswith(("aten::", "torchvision::"))} <= PROBES.keys()


@pytest.mark.parametrize("name", sorted(set(PROBES) & set(NAMED("AutocastCUDA"))))
def test_an_op_that_no_list_has_gets_cudas_dtype(name: str) -> None:
    compute, expected = PROBES[name]
    with FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        assert compute().dtype == expected


def test_operands_are_cast_and_gradients_arrive_as_on_a_gpu() -> None:
    weight = torch.full((3, 2, 3, 3), 0.1, requires_grad=True)
    with FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        result = deformed(weight)
        result.float().sum().backward()
    exact = ops.deform_conv2d(maps(2).float(), torch.zeros(1, 18, 3, 3), weight)
    assert torch.equal(result, exact.half())
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_ops_of_ones_own_are_cast_as_registered_for_cuda() -> None:
    given: list[tuple[torch.dtype, torch.dtype]] = []

    def first(x: Tensor, others: list[Tensor], factor: float = 1.0) -> Tensor:
        given.append((x.dtype, others[0].dtype))
        return x * factor

    def op(name: str, **registered: torch.dtype) -> Callable[..., Tensor]:
        made = torch.library.custom_op(f"test_asked_casts::{name}", first, mutates_args=())
        for device, dtype in registered.items():
            made.register_autocast(device, dtype)
        return made

    x, counts = torch.ones(2), torch.ones(2, dtype=torch.int64)
    cases = [
        (op("both", cuda=torch.float32, cpu=torch.bfloat16), x.half(), torch.float32),
        (op("gpu", cuda=torch.float16), x, torch.float16),
        (op("cpu", cpu=torch.bfloat16), x, torch.float32),
        (op("neither"), x, torch.float32),
    ]
    with BF16.arithmetic("cpu"), BF16.autocast("cpu"):
        for compute, value, expected in cases:
            assert compute(value, [value, counts], factor=2.0).dtype == expected
            assert given.pop() == (expected, expected)
    assert cases[0][0](x, [x]).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert cases[0][0](x, [x]).dtype == torch.bfloat16


def test_an_op_in_whose_place_autocast_calls_others_is_refused() -> None:
    norm = asked_kernel(torch.ops.aten.norm.Scalar)
    with pytest.raises(NotImplementedError, match="calls other ops in its place"):
        norm(torch.ones(2).half())
