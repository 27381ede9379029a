"""Batch norms of several processes normalise as one does that has all of their samples."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from processes import in_processes
from torch import Tensor, nn

from halftrack.training.learner import BatchStatistics
from halftrack.training.processes.shared_norms import ReplayedStatistics, sync_norms
from halftrack.training.ranks import ALONE, together

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5),
        nn.BatchNorm1d(5, momentum=0.3),
    )  # fmt: skip


def gradients(model: nn.Module, images: Tensor, *, of: int) -> dict[str, Tensor]:
    (model(images).pow(3).sum() / of).backward()
    return {name: each.grad for name, each in model.named_parameters()}


def test_losses_gradients_and_statistics_are_those_of_all_samples_together() -> None:
    images = torch.randn(7, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    whole = network()
    whole(images[:2])  # the lazy layer takes its size
    parts = copy.deepcopy(whole)
    wanted = gradients(whole, images, of=7)

    def part() -> tuple[dict[str, Tensor], dict[str, Tensor], Any]:
        with together(CPU) as ranks:
            model = copy.deepcopy(parts)
            sync_norms(each for each in model if isinstance(each, nn.modules.batchnorm._BatchNorm))
            own = gradients(model, images[:3] if ranks.is_first else images[3:], of=7)
            assert isinstance(model[1], nn.BatchNorm2d)
            frozen = model.eval()(images)
            return own, model.state_dict(), frozen.detach()

    answers = in_processes(2, part)
    for name, gradient in wanted.items():
        summed = sum(own[name] for own, _, _ in answers)
        torch.testing.assert_close(summed, gradient, rtol=1e-4, atol=1e-5)
    for _, state, frozen in answers:
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(frozen, whole.eval()(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_its_statistics_in_fp32(dtype: torch.dtype) -> None:
    x = 300.0 + torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(2)).to(dtype)

    def normed() -> Tensor:
        norm = nn.BatchNorm2d(3)
        with together(CPU):
            sync_norms([norm])
            return norm(x).detach()

    for answer in in_processes(2, normed):
        assert answer.dtype == dtype
        wanted = nn.BatchNorm2d(3)(x.float())
        torch.testing.assert_close(answer.float(), wanted, rtol=1e-2, atol=1e-2)


def test_running_statistics_are_replayed_in_the_order_of_ranks() -> None:
    batches = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(3))
    alone = nn.BatchNorm1d(5, momentum=0.3)
    for batch in batches:
        alone(batch)

    def replayed() -> dict[str, Tensor]:
        norms = nn.ModuleList([nn.BatchNorm1d(5, momentum=0.3), nn.BatchNorm1d(2)])
        with together(CPU) as ranks:
            statistics = BatchStatistics(norms)
            replay = ReplayedStatistics(norms, statistics, ranks)
            for step in (batches[:2], batches[2:]):
                norms[0](step[ranks.rank])
                replay.replay()
                statistics.keep()
        assert torch.equal(norms[1].running_var, torch.ones(2))
        return norms[0].state_dict()

    for state in in_processes(2, replayed):
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(state[name], value)


def test_a_norm_that_averages_all_batches_alike_is_refused() -> None:
    norms = nn.Sequential(nn.BatchNorm1d(5, momentum=None))
    with pytest.raises(ValueError, match="0 has momentum=None: several processes cannot keep"):
        ReplayedStatistics(norms, BatchStatistics(norms), ALONE)
