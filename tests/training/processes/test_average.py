"""An average in pieces follows the weights, is shown and put away as the whole one is."""

from __future__ import annotations

import torch
from processes import in_processes
from torch import Tensor, nn

from halftrack.training import WeightAverage
from halftrack.training.processes.average import DividedAverage
from halftrack.training.processes.divided import DividedModel
from halftrack.training.ranks import LostProcessError, together

CPU = torch.device("cpu")


def moved(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
        model[1].running_mean.add_(7.0)


def seeded() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 30, device="cpu"), nn.BatchNorm1d(30, device="cpu"))


def test_an_average_of_pieces_is_the_whole_one_in_pieces() -> None:
    def shown(state: dict[str, object] | None) -> list[dict[str, Tensor]]:
        with together(CPU) as ranks:
            model, found = seeded(), []
            divided = DividedModel(model, ranks, None)
            with divided.whole():
                average = DividedAverage(model, divided.parts, ranks, decay=0.5)
            if state is not None:
                average.load_state_dict(state)
            for _ in range(2):
                with divided.whole():
                    moved(model)
                average.update(model)
            with divided.whole():
                with average.swapped_in(model):
                    found.append({k: v.clone() for k, v in model.state_dict().items()})
                found.append({k: v.clone() for k, v in model.state_dict().items()})
            held = sum(each.numel() for each in average.tensors if each.dtype == torch.float32)
            return [*found, average.state_dict(), {"held": held}]

    model = seeded()
    average = WeightAverage(model, decay=0.5)
    for _ in range(2):
        moved(model)
        average.update(model)
    own, wanted = model.state_dict(), average.state_dict()
    first, second = in_processes(2, lambda: shown(None))
    for averaged, live, told, held in (first, second):
        assert all(torch.equal(averaged[name], value) for name, value in wanted["average"].items())
        assert all(torch.equal(live[name], value) for name, value in own.items())
        assert told["updates"] == wanted["updates"] == 2
        assert held["held"] < 256 + 2 * 30 + 3 * 64
    assert list(first[2]["average"]) == list(wanted["average"])
    model.load_state_dict(seeded().state_dict())
    for _ in range(2):
        moved(model)
        average.update(model)
    resumed, *_ = in_processes(3, lambda: shown(first[2]))
    for name, value in average.state_dict()["average"].items():
        assert torch.equal(resumed[2]["average"][name], value)


def test_a_process_that_fails_alone_exchanges_nothing_more_and_keeps_its_weights() -> None:
    def ended() -> str:
        with together(CPU) as ranks:
            model = seeded()
            divided = DividedModel(model, ranks, None)
            with divided.whole():
                average = DividedAverage(model, divided.parts, ranks, decay=0.5)
                moved(model)
            average.update(model)
            own = [part.held.clone() for part in divided.parts]
            mean = model[1].running_mean.clone()
            try:
                with divided.whole(), average.swapped_in(model):
                    if ranks.rank == 0:
                        model[1].running_mean.zero_()
                        raise KeyError
                    ranks.gathered("a score")  # for which it waits in vain
            except KeyError:
                held = [part.held for part in divided.parts]
                assert all(map(torch.equal, held, own))
                assert torch.equal(model[1].running_mean, mean)
                return "failed"
        return "went on"

    def answer() -> str:
        try:
            return ended()
        except LostProcessError:
            return "lost the other"

    assert in_processes(2, answer) == ["failed", "lost the other"]
