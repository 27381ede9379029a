"""A traced pass names the fault, the scale that the whole pass fits, and outlives its loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from halftrack.precision import Culprit, Precision, find_culprit
from halftrack.precision.traced_pass import (
    LossRaisedError,
    TracedPass,
    first_culprit,
    norm_overflow,
)

FP16, CPU = Precision("fp16", "dynamic"), torch.device("cpu")


class Growing(nn.Module):
    """Layers whose gradients grow on the way back: the last one overflows first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            self.first.weight.fill_(2.0)
            self.last.weight.fill_(16.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def loss(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).float().sum()


def traced(model: nn.Module, scale: float, x: Tensor) -> TracedPass:
    found = TracedPass(model, precision=FP16, loss_scale=scale, device=CPU)
    found.forward(x, lambda x: loss(model, x))
    return found


def test_the_scale_that_fits_is_that_of_the_whole_pass() -> None:
    model, x = Growing(), torch.full((1, 4), 8.0)
    again = traced(model, 2.0**13, x)
    assert not again.backward()
    found = again.culprit()
    assert found is not None
    assert found.where == "last"
    assert found.magnitude == 2.0**13 * 64
    # 512 is enough for that one, but the weights of the first layer get 8 times as much.
    assert found.fits_at == 2.0**6
    assert traced(Growing(), 2.0**6, x).backward()
    assert not traced(Growing(), 2.0**7, x).backward()


def test_finite_gradients_have_no_culprit_and_stay_as_they_are() -> None:
    model = Growing()
    again = traced(model, 1.0, torch.ones(1, 4))
    assert again.backward()
    kept = model.first.weight.grad
    assert kept is not None
    assert again.culprit() is None
    assert again.largest_scale(2.0**13) == 2.0**9
    assert model.first.weight.grad is kept


def test_all_batches_of_a_step_fit_at_its_scale() -> None:
    model, small, large = Growing(), torch.ones(1, 4), torch.full((1, 4), 64.0)

    def fits(*batches: Tensor) -> float | None:
        found = find_culprit(
            model,
            batches,
            lambda x: loss(model, x),
            precision=FP16,
            loss_scale=2.0**13,
            device=CPU,
        )
        assert found is not None
        return found.fits_at

    assert fits(small) == 2.0**9
    assert fits(small, large) == fits(large) == 2.0**3


def test_a_batch_after_a_faulty_one_is_judged_by_its_own_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty: list[Tensor] = []

    def watched(
        passes: list[TracedPass], otherwise: Callable[[], Culprit | None]
    ) -> Culprit | None:
        faulty.extend(each.batch for each in passes)
        return first_culprit(passes, otherwise)

    monkeypatch.setattr("halftrack.precision.rerun.first_culprit", watched)
    model, small, large = Growing(), torch.ones(1, 4), torch.full((1, 4), 64.0)
    found = find_culprit(
        model,
        [small, large, small],
        lambda x: loss(model, x),
        precision=FP16,
        loss_scale=2.0**6,
        device=CPU,
    )
    assert found is not None
    assert [batch is large for batch in faulty] == [True]


def test_the_norm_of_a_step_is_not_looked_at_where_a_gradient_is_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def counted(gradients: dict[str, Tensor], scale: float, names: tuple[str, ...]) -> None:
        asked.append(scale)

    monkeypatch.setattr("halftrack.precision.rerun.norm_overflow", counted)
    model = Growing()
    for scale, times in ((2.0**13, 0), (1.0, 1)):
        find_culprit(
            model,
            [torch.ones(1, 4)],
            lambda x: loss(model, x),
            precision=FP16,
            loss_scale=scale,
            device=CPU,
        )
        assert len(asked) == times


def test_the_norm_of_complex_gradients_is_that_of_both_parts() -> None:
    found = norm_overflow({"filters": torch.full((2,), 3e19j), "bias": torch.ones(2)}, 1.0, ("0",))
    assert found is not None
    assert found.where == "filters"
    assert found.magnitude == pytest.approx(3e19 * 2**0.5)


def test_a_loss_that_raises_on_nan_leaves_the_culprit_beside_the_exception() -> None:
    model, x = Growing(), torch.full((1, 4), 1000.0)

    def matched(x: Tensor) -> Tensor:
        made = model(x)
        if not made.isfinite().all():
            raise ValueError("cost matrix is infeasible")
        return made.sum()

    again = TracedPass(model, precision=FP16, loss_scale=1.0, device=CPU)
    with pytest.raises(LossRaisedError) as caught:
        again.forward(x, matched)
    found = caught.value.culprit
    assert (found.where, found.operation, found.kind) == ("last", "mm", "overflow")
    assert isinstance(caught.value.__cause__, ValueError)
    assert "the loss then raised ValueError: cost matrix is infeasible" in str(found)
    same = find_culprit(model, [x], matched, precision=FP16, loss_scale=1.0, device="cpu")
    assert same == found


def test_an_exception_that_nothing_non_finite_came_before_is_the_users() -> None:
    def broken(x: Tensor) -> Tensor:
        raise KeyError("labels")

    again = TracedPass(Growing(), precision=FP16, loss_scale=1.0, device=CPU)
    with pytest.raises(KeyError, match="labels"):
        again.forward(torch.ones(1, 4), broken)


class Steep(torch.autograd.Function):
    """The identity, with a gradient that half does not hold."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * 2.0**60


class Custom(nn.Linear):
    """A layer that ends with a custom function."""

    def forward(self, x: Tensor) -> Tensor:
        return Steep.apply(super().forward(x))


class Calling(nn.Module):
    """A module that calls a custom function on what its layer returned."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return Steep.apply(self.inner(x))


def test_a_custom_function_after_a_layer_is_of_the_module_that_called_both() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Calling(), nn.Linear(4, 1))
    again = traced(model, 1.0, torch.randn(3, 4))
    assert not again.backward()
    found = again.culprit()
    assert found is not None
    assert (found.where, found.operation, found.direction) == ("0", "mul", "backward")


def test_the_backward_of_a_custom_function_is_of_the_module_that_called_it() -> None:
    torch.manual_seed(0)
    # The norm counts its batches first, an op that has no gradient.
    model = nn.Sequential(nn.Linear(4, 4), Custom(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    again = traced(model, 1.0, torch.randn(3, 4))
    assert not again.backward()
    found = again.culprit()
    assert found is not None
    assert (found.where, found.operation, found.direction) == ("1", "mul", "backward")
