"""Pieces of a part put together are the part, in every layout and by any number of processes."""

from __future__ import annotations

import pytest
import torch
from processes import in_processes
from torch import Tensor, nn

from halftrack.training.processes.parts import Part, momentum_held
from halftrack.training.ranks import Ranks, together

CPU = torch.device("cpu")


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    convs = [nn.Conv2d(*each, device="cpu") for each in ((3, 40, 3), (40, 2, 1))]
    return nn.Sequential(*convs).to(memory_format=torch.channels_last)


def parameters(model: nn.Module) -> list[nn.Parameter]:
    return list(model.parameters())


@pytest.mark.parametrize("processes", [2, 3])
def test_a_part_is_whole_between_gather_and_release_alone(processes: int) -> None:
    def values() -> tuple[list[Tensor], list[Tensor], list[int], int]:
        with together(CPU) as ranks:
            model = layers()
            part = Part("convs", parameters(model), ranks)
            absent = [parameter.detach().clone() for parameter in part.parameters]
            part.gather()
            whole = [parameter.detach().clone() for parameter in part.parameters]
            part.release()
            lengths = [len(piece) for piece in part.pieces]
            return absent, whole, lengths, part.held.untyped_storage().nbytes()

    wanted = parameters(layers())
    found = in_processes(processes, values)
    for absent, whole, _, held in found:
        assert all(bool(value.isnan().all()) for value in absent)
        for value, parameter in zip(whole, wanted, strict=True):
            assert torch.equal(value, parameter)
            assert value.stride() == parameter.stride()
        # Equal pieces, each rounded up to a multiple of 64 values.
        assert held == found[0][3] < sum(p.nbytes for p in wanted) / processes + 4 * 5 * 64
    lengths = [sum(each) for each in zip(*(each for _, _, each, _ in found), strict=True)]
    assert lengths == [parameter.numel() for parameter in wanted]


def test_gradients_of_all_processes_are_added_up_over_passes_and_steps() -> None:
    def summed() -> tuple[list[Tensor], list[bool]]:
        with together(CPU) as ranks:
            model = layers()
            model[1].requires_grad_(False)
            part = Part("convs", parameters(model), ranks)
            for number in range(2):
                part.collect()
                for parameter in part.parameters[: 1 + ranks.rank]:  # not the same everywhere
                    parameter.grad.add_(ranks.rank + 1 + 10 * number)
                part.share_gradients(None)
            assert part.gradients is not None
            return part.joined(part.gradients), [p.grad is None for p in part.parameters]

    for gradients, absent in in_processes(2, summed):
        assert [float(each.unique()) for each in gradients] == [1 + 11 + 2 + 12, 2 + 12, 0, 0]
        assert all(absent)


def test_what_a_part_is_made_to_show_or_keep_is_kept() -> None:
    class Alone(Ranks):
        def joined(self, piece: Tensor) -> Tensor:
            return piece.clone()

    model = layers()
    part = Part("convs", parameters(model), Alone())
    before = part.held.clone()
    part.gather()
    part.show(torch.ones_like(part.held))
    assert all(bool((parameter == 1).all()) for parameter in part.parameters)
    part.show(part.held)
    with torch.no_grad():
        model[1].bias.fill_(7.0)
    part.keep()
    part.release()
    *others, bias = part.pieces
    assert bias.tolist() == [7.0, 7.0]
    assert all(torch.equal(a, b) for a, b in zip(others, part.split(before)[:-1], strict=True))
    zeros = part.split(part.spread([None, None, None, torch.ones(2, device="cpu")]))
    assert [float(each.sum()) for each in zeros] == [0.0, 0.0, 0.0, 2.0]


def test_momentum_is_held_of_what_trains() -> None:
    model = layers()  # 1080, 40, 80 and 2 values
    assert momentum_held(parameters(model), 1) == [1202]
    model[0].requires_grad_(False)
    assert momentum_held(parameters(model), 2) == [0, 82]
    assert sum(momentum_held(parameters(model), 30)) == 82
