"""The report and its page name the ops that a GPU computes otherwise, of the model rehearsed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.precision.called_ops import CalledOps
from halftrack.rehearsing import Report, rehearse, watching
from halftrack.rehearsing.otherwise import told_otherwise
from halftrack.rehearsing.page import page

ATTENTION, CUSTOM = "scaled_dot_product_attention", "test_otherwise::twice"


@torch.library.custom_op(CUSTOM, mutates_args=())
def twice(x: Tensor) -> Tensor:
    return 2 * x


twice.register_autograd(lambda ctx, gradient: twice(gradient))


class Attends(nn.Module):
    """A layer, attention over it, and an op of another library."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return twice(F.scaled_dot_product_attention(x, x, x))


def conv_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def loss_of(model: nn.Module, batch: Tensor) -> Tensor:
    loss: Tensor = model(batch).float().square().mean()
    return loss


def rehearsed(model: nn.Module, batch: Tensor) -> Report:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return rehearse(loss_of, [batch], model=model, optimizer=optimizer, steps=2, memory=False)


def test_attention_and_an_op_of_another_library_are_told() -> None:
    report = rehearsed(Attends(), torch.ones(2, 2, 3, 4))
    assert report.called == CalledOps(fused=(ATTENTION,), uncast=(CUSTOM,))
    assert json.loads(report.json())["called"] == {"fused": [ATTENTION], "uncast": [CUSTOM]}
    for told in (str(report), page(report)):
        assert f"attention ({ATTENTION})" in told
        assert CUSTOM in told


def test_a_plain_conv_net_has_none_to_tell() -> None:
    report = rehearsed(conv_net(), torch.ones(2, 2, 6, 6))
    assert report.called == CalledOps()
    for told in (str(report), page(report)):
        assert "kernels of its own" not in told
        assert "no entry" not in told


def test_a_loop_of_ones_own_is_told_of_too() -> None:
    model, batch = Attends(), torch.ones(2, 2, 3, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watching(model) as watch:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
    assert watch.report.called == CalledOps(fused=(ATTENTION,), uncast=(CUSTOM,))


@pytest.mark.parametrize(
    ("called", "words"),
    [
        (
            {"fused": ("fft_fft", "gru", "lstm")},
            "Fourier transforms (fft_fft), recurrent layers (gru, lstm)",
        ),
        ({"uncast": tuple("abcdefg")}, "a, b, c, d, e and 2 more"),
        ({"uncast": tuple("abcde")}, "no entry for a, b, c, d, e:"),
    ],
)
def test_ops_are_told_by_family_and_the_first_of_many(called: dict[str, Any], words: str) -> None:
    (line,) = told_otherwise(CalledOps(**called))
    assert words in line
