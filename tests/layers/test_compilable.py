"""Methods are compiled once for each of few shapes, in training alone; copies have their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from halftrack.layers import Compilable, fixed_shapes
from halftrack.layers.compilable import coarse


class Scaled(Compilable):
    """One method that can be compiled, and one that torch cannot read."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(3.0))

    @fixed_shapes
    def scaled(self, x: Tensor, power: int = 1) -> Tensor:
        """``x`` times the factor, to a power."""
        return (x * self.factor) ** power

    @fixed_shapes
    def unreadable(self, x: Tensor) -> Tensor:
        """``x`` times the factor, with something between that torch leaves to Python."""
        torch._dynamo.graph_break()
        return x * self.factor


@pytest.fixture
def compilations() -> Iterator[list[torch.fx.GraphModule]]:
    """Graphs that were given to a compiler, which leaves them as they are."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    with torch.compiler.set_stance("default", force_backend=keep):
        yield graphs
    torch._dynamo.reset()


def compiled() -> Scaled:
    model = Scaled()
    model.compile_mode = "default"
    return model


def test_each_shape_is_compiled_once(compilations: list[object]) -> None:
    model = compiled()
    for size in (2, 3, 2, 3, 4):
        assert torch.equal(model.scaled(torch.ones(size)), torch.full((size,), 3.0))
    assert len(compilations) == 3
    assert torch.equal(model.scaled(torch.ones(2), 2), torch.full((2,), 9.0))
    assert len(compilations) == 4


def test_more_shapes_are_compiled_than_torch_would_by_itself(compilations: list[object]) -> None:
    model = compiled()
    for size in range(2, 14):
        model.scaled(torch.ones(size))
    assert len(compilations) == 12


def test_evaluation_and_a_model_that_asks_for_nothing_stay_eager(
    compilations: list[object],
) -> None:
    Scaled().scaled(torch.ones(2))
    compiled().eval().scaled(torch.ones(2))
    assert not compilations


def test_a_copy_computes_with_its_own_weights(compilations: list[object]) -> None:
    model = compiled()
    model.scaled(torch.ones(2))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.factor.fill_(5.0)
    assert torch.equal(twin.scaled(torch.ones(2)), torch.full((2,), 5.0))
    assert torch.equal(model.scaled(torch.ones(2)), torch.full((2,), 3.0))
    assert list(twin.state_dict()) == ["factor"]


def test_what_cannot_be_read_is_no_silent_eager_run() -> None:
    with pytest.raises(torch._dynamo.exc.Unsupported, match="graph_break"):
        compiled().unreadable(torch.ones(2))
    torch._dynamo.reset()


def test_coarse_numbers_are_few_and_at_most_a_quarter_larger() -> None:
    numbers = range(1, 1025)
    assert all(n <= coarse(n) < 1.25 * n + 1 for n in numbers)
    assert all(coarse(coarse(n)) == coarse(n) for n in numbers)
    assert sorted({coarse(n) for n in range(16, 65)}) == [16, 20, 24, 28, 32, 40, 48, 56, 64]
