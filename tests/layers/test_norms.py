"""Norms count their batches at once where that is asked, and are torch's otherwise."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from halftrack.layers.norms import BatchNorm1d, BatchNorm2d, counted_together

ROWS = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
MAPS = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("mine", "torchs", "x"),
    [(BatchNorm1d(3), nn.BatchNorm1d(3), ROWS), (BatchNorm2d(3), nn.BatchNorm2d(3), MAPS)],
)
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_norms_compute_and_keep_what_torchs_do(
    mine: nn.Module, torchs: nn.Module, x: Tensor, together: bool, training: bool
) -> None:
    mine, torchs = copy.deepcopy(mine).train(training), copy.deepcopy(torchs).train(training)
    expected = [torchs(x), torchs(x * 3)]
    if together:
        with counted_together():
            found = [mine(x), mine(x * 3)]
            assert int(mine.num_batches_tracked) == 0
    else:
        found = [mine(x), mine(x * 3)]
    assert all(map(torch.equal, found, expected))
    state = torchs.state_dict()
    assert list(mine.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in mine.state_dict().items())


def test_each_counts_as_often_as_it_ran_and_after_an_error_too() -> None:
    norms = [BatchNorm2d(3) for _ in range(3)]
    version = norms[0].num_batches_tracked._version

    @counted_together()
    def failing() -> None:
        for norm in (norms[0], norms[1], norms[0]):
            norm(MAPS)
        raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert [int(norm.num_batches_tracked) for norm in norms] == [2, 1, 0]
    # Folded weights are known to be stale by it.
    assert norms[0].num_batches_tracked._version > version
    norms[2](MAPS)
    assert int(norms[2].num_batches_tracked) == 1


def test_without_a_momentum_the_average_is_over_all_batches() -> None:
    norm, torchs = BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, momentum=None)
    with counted_together():
        for factor in (1, 5):
            norm(MAPS * factor)
    for factor in (1, 5):
        torchs(MAPS * factor)
    assert torch.equal(norm.running_mean, torchs.running_mean)


def test_maps_of_another_rank_are_refused_as_torch_does() -> None:
    with counted_together(), pytest.raises(ValueError, match="expected 4D input"):
        BatchNorm2d(3)(ROWS)


def test_a_compiled_norm_counts_at_once() -> None:
    norm, plain = BatchNorm2d(3), nn.BatchNorm2d(3)
    torch._dynamo.reset()
    compiled = torch.compile(norm.forward, backend="eager", fullgraph=True, dynamic=False)
    with counted_together():
        assert torch.equal(compiled(MAPS), plain(MAPS))
        assert int(norm.num_batches_tracked) == 1
    assert all(map(torch.equal, norm.state_dict().values(), plain.state_dict().values()))
    torch._dynamo.reset()
