"""A CPU's own bf16: told where it is missing, never rehearsed, and refused in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from halftrack.precision import Precision, PrecisionError
from halftrack.precision.native import NativeHalf

INSTRUCTIONS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def cpu_with(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    for name in INSTRUCTIONS:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in present)


@pytest.mark.parametrize("present", INSTRUCTIONS)
def test_one_of_the_instructions_is_enough(monkeypatch: pytest.MonkeyPatch, present: str) -> None:
    cpu_with(monkeypatch, present)
    NativeHalf("bf16").check_device("cpu")


def test_a_cpu_without_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_with(monkeypatch)
    with pytest.raises(PrecisionError, match="neither avx512_bf16 nor AMX: take fp32"):
        NativeHalf("bf16").check_device(torch.device("cpu"))


def test_a_gpu_is_told_to_take_bf16_as_it_is() -> None:
    with pytest.raises(PrecisionError, match="not for cuda: take bf16 as it is"):
        NativeHalf("bf16").check_device("cuda")


@pytest.mark.parametrize("name", ["fp32", "tf32", "fp16"])
def test_it_is_bf16(name: str) -> None:
    with pytest.raises(PrecisionError, match=f"own half precision is bf16, not {name}"):
        NativeHalf(name)  # type: ignore[arg-type]


def test_nothing_is_trained_in_it() -> None:
    with pytest.raises(PrecisionError, match="for inference alone"):
        NativeHalf("bf16").new_loss_scale()


def test_it_computes_in_bf16_and_not_in_the_rehearsal() -> None:
    """A GPU's bf16, rehearsed, rounds the same operands: answers are a rounding apart."""
    torch.manual_seed(0)
    model, x = nn.Conv2d(8, 8, 3), torch.randn(1, 8, 12, 12)
    native, rehearsed = NativeHalf("bf16"), Precision("bf16")
    assert rehearsed.is_rehearsed("cpu")
    assert not native.is_rehearsed("cpu")
    assert native.in_words("cpu") == "bf16, the CPU's own"
    with native.inference("cpu"):
        found = model(x)
    with rehearsed.inference("cpu"):
        expected = model(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-8)


def test_its_islands_stay_in_fp32() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    precision = NativeHalf("bf16", keep_fp32=("1",))
    precision.keep_in_fp32(model)
    with precision.inference("cpu"):
        assert model[0](torch.ones(1, 4)).dtype == torch.bfloat16
        assert model(torch.ones(1, 4)).dtype == torch.float32
