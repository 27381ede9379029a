"""Code that says "cuda" is understood within a rehearsal on a CPU, and nowhere else."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd

from halftrack.precision import Precision

FP16, BF16 = Precision.named("fp16"), Precision.named("bf16")


def product(x: Tensor) -> torch.dtype:
    return (x @ x).dtype


def test_a_region_for_cuda_is_one_for_the_cpu(device: torch.device) -> None:
    x = torch.eye(2, device=device)
    with FP16.autocast(device):
        with torch.autocast("cuda", enabled=False):
            assert product(x) == torch.float32
            with torch.autocast("cuda", torch.bfloat16):
                assert product(x) == torch.bfloat16
            assert product(x) == torch.float32
        assert product(x) == torch.float16
    with BF16.arithmetic(device), torch.autocast("cuda"):
        assert product(x) == torch.float16  # autocast's own default on a GPU
    with BF16.autocast(device), torch.autocast("cuda"):
        assert product(x) == torch.bfloat16


def test_islands_made_before_the_rehearsal_are_islands_within() -> None:
    region = torch.autocast("cuda", enabled=False)

    @torch.autocast("cuda", enabled=False)
    def decorated(x: Tensor) -> torch.dtype:
        return product(x)

    with pytest.warns(FutureWarning):
        deprecated = torch.cuda.amp.autocast(enabled=False)
    x = torch.eye(2)
    with FP16.autocast("cpu"):
        assert decorated(x) == torch.float32
        for island in (region, deprecated):
            with island:
                assert product(x) == torch.float32
        assert product(x) == torch.float16


def test_the_question_whether_autocast_is_on_has_a_gpus_answer(device: torch.device) -> None:
    layer = nn.Linear(2, 2)
    with FP16.arithmetic(device):
        assert not torch.is_autocast_enabled()
        with FP16.autocast(device):
            assert torch.is_autocast_enabled()
            assert torch.get_autocast_dtype("cuda") == torch.float16
            with torch.autocast(device.type, enabled=False):
                assert not torch.is_autocast_enabled()
            assert torch.is_autocast_enabled()
        assert not torch.is_autocast_enabled()
    assert not torch.is_autocast_enabled()
    assert layer(torch.ones(1, 2)).dtype == torch.float32


class Doubled(torch.autograd.Function):
    seen: ClassVar[list[torch.dtype]] = []

    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Doubled.seen += [x.dtype, product(x)]
        return x * 2

    @staticmethod
    @custom_bwd(device_type="cuda")
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        Doubled.seen += [gradient.dtype, product(gradient)]
        return gradient * 2


def test_a_custom_function_for_cuda_casts_its_inputs_and_computes_in_fp32() -> None:
    x = torch.eye(2).half().requires_grad_()
    Doubled.seen.clear()
    with FP16.arithmetic("cpu"):
        with FP16.autocast("cpu"):
            out = Doubled.apply(x)
        out.sum().backward()
    assert Doubled.seen == [torch.float32] * 4
    assert out.dtype == torch.float32
    assert (x.grad == 2).all()


def test_an_evaluated_attention_layer_takes_no_path_that_autocast_cannot_see() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 3, 8)
    with FP16.inference("cpu"):
        out, _ = layer(x, x, x, need_weights=False)
    assert out.dtype == torch.float16


def test_nothing_is_left_behind_even_by_regions_that_were_entered_before() -> None:
    kind = torch.autocast
    before = (kind.__init__, kind.__enter__, kind.__exit__, torch.amp.autocast_mode._cast)
    rehearsed = FP16.arithmetic("cpu")
    region = torch.autocast("cpu", torch.bfloat16)
    region.__enter__()
    with rehearsed:
        assert torch.is_autocast_enabled()
        region.__exit__(None, None, None)
        assert not torch.is_autocast_enabled("cpu")
    assert (kind.__init__, kind.__enter__, kind.__exit__, torch.amp.autocast_mode._cast) == before
    assert not torch.is_autocast_enabled()
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert torch.get_autocast_dtype("cuda") == torch.float16
    if not torch.cuda.is_available():
        with pytest.warns(UserWarning, match="CUDA is not available"):
            torch.autocast("cuda")


def test_a_weights_half_copy_lives_as_long_as_the_outermost_region() -> None:
    layer = nn.Linear(2, 2)
    copies = []

    def kept() -> int:
        from halftrack.precision.rehearsal import _cast_weights

        return len(_cast_weights)

    with FP16.arithmetic("cpu"):
        with FP16.autocast("cpu"):
            layer(torch.ones(1, 2))
            with torch.autocast("cuda", enabled=False):
                copies.append(kept())
            copies.append(kept())
        copies.append(kept())
    assert copies == [2, 2, 0]
