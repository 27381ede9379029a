"""Sums over processes come out as if one had added their values up, rank 0's first."""

from __future__ import annotations

import pytest
import torch
from processes import in_processes
from torch import Tensor

from halftrack.training import sums
from halftrack.training.ranks import together

CPU = torch.device("cpu")


def values(rank: int) -> Tensor:
    drawn = torch.randn(12, generator=torch.Generator("cpu").manual_seed(rank), device="cpu")
    return drawn * 10.0**rank


@pytest.mark.parametrize("at_once", [3, 2**20])
@pytest.mark.parametrize("wire", [None, torch.float16])
def test_each_process_gets_its_piece_of_the_sum_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, wire: torch.dtype | None, at_once: int
) -> None:
    monkeypatch.setattr(sums, "_AT_ONCE", at_once)

    def piece() -> tuple[Tensor, Tensor]:
        with together(CPU) as ranks:
            own = values(ranks.rank)
            found = ranks.summed_piece(own, wire)
            assert torch.equal(own, values(ranks.rank))
            return found, ranks.joined(found)

    first, second, third = (values(rank).to(wire or torch.float32) for rank in range(3))
    wanted = ((first + second) + third).float()
    found = in_processes(3, piece)
    assert torch.equal(torch.cat([own for own, _ in found]), wanted)
    assert all(torch.equal(whole, wanted) for _, whole in found)


def test_pieces_are_added_in_the_order_of_ranks() -> None:
    def added() -> Tensor:
        with together(CPU) as ranks:
            return sums.added_in_order(values(ranks.rank).view(3, 4))

    wanted = (values(0) + values(1)) + values(2)
    assert torch.equal(torch.cat(in_processes(3, added)), wanted)
