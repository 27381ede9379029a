"""A run's device, memory layout and precision are decided once, and said in one line."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from halftrack.precision import Precision
from halftrack.recipes import load_recipe
from halftrack.training import TrainingConfig
from halftrack.training.placement import computation, placed
from halftrack.training.ranks import Ranks

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def config(**more: object) -> TrainingConfig:
    needed = {"epochs": 1, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "best_metric": "ap"}
    return TrainingConfig(**needed, published_batches_per_step=1, **more)


@pytest.mark.parametrize(
    ("name", "device", "asked", "line"),
    [
        ("fp32", CPU, None, "computes on cpu in fp32; TF32 off; channels first"),
        ("fp16", CPU, None, "computes on cpu in fp16, rehearsed; TF32 off; channels first"),
        ("tf32", CPU, True, "computes on cpu in tf32, rehearsed; TF32 on; channels last"),
        ("fp32", GPU, None, "computes on cuda:0 in fp32; TF32 off; channels first"),
        ("tf32", GPU, None, "computes on cuda:0 in tf32; TF32 on; channels first"),
        ("fp16", GPU, None, "computes on cuda:0 in fp16; TF32 off; channels last"),
        ("bf16", GPU, False, "computes on cuda:0 in bf16; TF32 off; channels first"),
    ],
)
def test_the_line_says_how_a_run_computes(
    name: str, device: torch.device, asked: bool | None, line: str
) -> None:
    chosen = config(channels_last=asked)
    assert computation(nn.Conv2d(3, 4, 3), chosen, Precision.named(name), device) == line


def test_the_line_tells_of_a_backbone_that_computes_otherwise() -> None:
    model = load_recipe("siamese_rpn_tiny_sample").build_model().train()
    told = computation(model, config(), Precision(), CPU)
    assert told.endswith("; channels first, the backbone channels last")
    placed_so = placed(model, config(channels_last=True), Precision(), CPU)
    assert computation(placed_so, config(channels_last=True), Precision(), CPU).endswith(
        "; channels last"
    )


def test_the_line_tells_how_many_processes_share_a_step() -> None:
    told = computation(nn.Conv2d(3, 4, 3), config(accumulate=8), Precision(), CPU, Ranks(1, 4))
    assert told.endswith("; channels first; 4 processes, 2 of a step's batches each")


@pytest.mark.parametrize("name", ["fp32", "fp16"])
@pytest.mark.parametrize("asked", [None, False, True])
def test_a_cpu_keeps_channels_last_only_where_it_is_asked_to(name: str, asked: bool | None) -> None:
    chosen = config(channels_last=asked)
    model = placed(nn.Conv2d(3, 4, 3).eval(), chosen, Precision.named(name), CPU)
    assert model.training
    assert model.weight.is_contiguous(memory_format=torch.channels_last) == (asked is True)


@pytest.mark.parametrize("has_it", [True, False])
def test_on_a_cpu_the_c_library_is_asked_to_keep_what_is_freed(
    has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    answers = SimpleNamespace(mallopt=lambda *option: asked.append(option))
    library = answers if has_it else SimpleNamespace()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    placed(nn.Conv2d(3, 4, 3), config(), Precision(), CPU)
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h.
    assert asked == ([(-1, 2**31 - 1), (-3, 32 * 2**20)] if has_it else [])
