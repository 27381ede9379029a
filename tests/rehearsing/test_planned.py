"""Memory of any model is known from shapes, and code that reads values is told what to pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.precision import LiveBytes, Precision
from halftrack.rehearsing import plan
from halftrack.rehearsing.planned import fill_state

BATCH = (torch.randn(16, 3, 8, 8), torch.arange(16) % 5)


def model() -> nn.Module:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*body, nn.Linear(32 * 64, 5))


def step(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_the_prediction_is_what_a_step_holds(kind: type[torch.optim.Optimizer]) -> None:
    net = model()
    optimizer = kind(net.parameters(), lr=0.1)
    predicted = plan(step, BATCH, model=net, optimizer=optimizer)
    measured = plan(step, BATCH, model=net, optimizer=optimizer, compute=True)
    assert [each.peak for each in predicted.memory] == [each.peak for each in measured.memory]
    assert not optimizer.state
    assert all(p.grad is None for p in net.parameters())


def test_an_optimizers_state_is_filled_and_fused_ones_stay_fused() -> None:
    net = model()
    net[0].requires_grad_(False)
    whole = torch.optim.AdamW(net[:2].parameters(), weight_decay=0.0)
    fused = torch.optim.AdamW(net[4].parameters(), weight_decay=0.0, fused=True)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    fill_state([whole, fused])
    assert len(whole.state) == 2
    assert len(fused.state) == 2
    assert whole.param_groups[0]["foreach"]
    assert not fused.param_groups[0]["foreach"]
    assert all(not p.grad.any() for p in net.parameters() if p.requires_grad)
    assert all(map(torch.equal, before, net.parameters()))


def test_it_is_the_meters_own_count() -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    found = plan(step, BATCH, model=net, optimizer=optimizer, precisions=["fp16"]).memory[0]
    precision = Precision("fp16", 1.0)
    with LiveBytes(net, [optimizer]) as meter, precision.arithmetic("cpu"):
        with precision.autocast("cpu"):
            loss = step(net, BATCH)
        loss.backward()
    assert found.by_kind["activations"] == pytest.approx(
        meter.peak_by_kind["activations"], rel=0.05
    )
    assert found.by_kind["parameters"] == meter.peak_by_kind["parameters"]


def test_half_precision_holds_less_and_a_table_is_shown() -> None:
    net = model()
    found = plan(step, BATCH, model=net, optimizer=torch.optim.SGD(net.parameters()))
    fp32, bf16, fp16 = found.memory
    assert bf16.peak < fp16.peak + 64 < fp32.peak  # the loss scale is a tensor too
    assert found.fits("24GiB") == {"fp32": True, "bf16": True, "fp16": True}
    assert found.fits("100MB") == {"fp32": False, "bf16": False, "fp16": False}
    assert "activations" in str(found)
    with pytest.raises(UserError, match=r"'much' \(gpu_memory\): expected a number and MB"):
        found.fits("much")


def test_a_model_that_fits_no_memory_here_is_planned() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(2**17, 2**17), nn.Linear(2**17, 2))
    found = plan(
        lambda model, x: model(x).sum(),
        torch.zeros(1, 2**17),
        model=net,
        optimizer=torch.optim.SGD(net.parameters()),
        precisions=["fp32"],
    )
    assert found.memory[0].by_kind["parameters"] > 2**36


class Tied(nn.Module):
    """Weights used twice, a cache of a tensor with a graph, and a buffer in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
        self.out.weight = self.embed.weight
        self.kept = [self.embed.weight.sum() * 2]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.embed(tokens) + self.kept[0].detach())


def test_models_that_cannot_be_copied_are_planned() -> None:
    net = Tied()
    found = plan(
        lambda model, tokens: model(tokens).square().mean(),
        torch.tensor([[1, 2, 3]]),
        model=net,
        optimizer=torch.optim.Adam(net.parameters()),
        precisions=["fp16"],
    )
    assert found.memory[0].by_kind["optimizer"] in range(320, 340)


def test_code_that_reads_values_is_told_its_line_and_what_to_pass() -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters())

    def reads(model: nn.Module, batch: Any) -> Tensor:
        best = int(model(batch[0]).argmax())
        return step(model, (batch[0][: best + 1], batch[1][: best + 1]))

    message = r"needs values.*read at .*test_planned.py:\d+ \(best = int.*pass compute=True"
    with pytest.raises(UserError, match=message):
        plan(reads, BATCH, model=net, optimizer=optimizer)
    found = plan(reads, BATCH, model=net, optimizer=optimizer, compute=True)
    assert found.memory[0].peak > 0


def test_values_of_the_batch_are_known() -> None:
    def chosen(model: nn.Module, batch: Any) -> Tensor:
        few = int((batch[1] == 1).sum())
        return step(model, (batch[0][:few], batch[1][:few]))

    net = model()
    optimizer = torch.optim.SGD(net.parameters())
    assert (
        plan(chosen, BATCH, model=net, optimizer=optimizer).memory[0].peak
        < plan(step, BATCH, model=net, optimizer=optimizer).memory[0].peak
    )
