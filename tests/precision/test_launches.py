"""The counter of launches sees every kernel once, and every read of a value with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from halftrack.precision.launches import Launches


def counted(work: Callable[[], object]) -> Launches:
    with Launches() as launches:
        work()
    return launches


def test_each_op_below_autograd_is_one_kernel_and_a_view_is_none() -> None:
    x = torch.rand(4, 6)
    assert counted(lambda: x + 1).kernels == 1
    assert (
        counted(lambda: (x.T[1:].unsqueeze(0).view_as(x.T[1:][None]), torch.empty(3))).kernels == 0
    )
    assert counted(lambda: torch._foreach_mul([x, x, x], 2.0)).kernels == 1


def test_forward_backward_and_step_are_counted_apart() -> None:
    layer = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, foreach=True)

    def step() -> None:
        layer(torch.ones(3, 4)).sum().backward()
        optimizer.step()

    launches = counted(step)
    # The input, the product, its sum, and the 1 that the backward pass begins with.
    assert launches.forward.kernels == 4
    # The weight's and the bias's gradient.
    assert launches.backward.kernels >= 2
    assert launches.step.kernels == 1
    assert launches.kernels == sum(part.kernels for part in launches.parts)


BOXES, SCORES = torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 9.0, 9.0]]), torch.tensor([0.5, 0.9])
READS: dict[str, Callable[[], object]] = {
    "nonzero": lambda: torch.nonzero(SCORES > 0.6),
    "a mask": lambda: BOXES[SCORES > 0.6],
    "a mask that is written to": lambda: BOXES.clone().__setitem__(SCORES > 0.6, BOXES[:1]),
    "item": lambda: SCORES.sum().item(),
    "a truth": lambda: bool((SCORES > 0).all()),
    "tolist": lambda: sum(SCORES.tolist()),
    "unique": lambda: torch.unique(SCORES),
    "bincount": lambda: torch.bincount(SCORES.long()),
    "suppression": lambda: torchvision.ops.nms(BOXES, SCORES, 0.5),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_of_values_is_a_wait_at_its_line(name: str) -> None:
    launches = counted(READS[name])
    assert launches.waits == 1
    (line,) = launches.forward.waits
    file, _, number = line.rpartition(":")
    assert Path(file).name == Path(__file__).name
    assert f'"{name}"' in Path(__file__).read_text().splitlines()[int(number) - 1]


def test_what_needs_no_value_waits_for_none() -> None:
    rows = torch.tensor([1, 0])

    def work() -> Tensor:
        chosen = torch.where(SCORES > 0.6, SCORES, 0.0)[rows].cumsum(0)
        return torch.searchsorted(chosen, SCORES)

    assert counted(work).waits == 0


def test_a_list_that_becomes_a_tensor_is_a_copy() -> None:
    launches = counted(lambda: torch.tensor([1.0, 2.0]))
    assert launches.copies == 1
    assert launches.kernels == launches.waits == 0
