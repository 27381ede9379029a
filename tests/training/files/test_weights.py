"""Weights that are no numbers, or of which none fits, are refused with the first key."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from halftrack.training import load_weights

GOOD = torch.ones(2, 3)


def model() -> nn.Module:
    return nn.ModuleDict({"head": nn.Linear(3, 2), "norm": nn.BatchNorm1d(2)})


def saved(folder: Path, **changed: Tensor) -> Path:
    state = model().state_dict()
    state |= {key.replace("__", "."): value for key, value in changed.items()}
    torch.save({"state_dict": state}, folder / "a.pth")
    return folder / "a.pth"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (GOOD.index_fill(1, torch.tensor([2]), torch.nan), r"head\.weight holds nan, in 2 of 6"),
        (GOOD * torch.inf, r"head\.weight holds inf, in 6 of 6"),
        (GOOD * -torch.inf, r"head\.weight holds -inf"),
        (GOOD.half() * torch.inf, r"head\.weight holds inf"),
        (GOOD.bfloat16() * torch.nan, r"head\.weight holds nan"),
        (GOOD + 1j, r"head\.weight is of torch\.complex64, expected floating-point"),
        (GOOD.long(), r"head\.weight is of torch\.int64, expected floating-point"),
        (GOOD.to(torch.uint8), r"head\.weight is of torch\.uint8"),
        (GOOD.bool(), r"head\.weight is of torch\.bool"),
        (GOOD.to("meta"), r"head\.weight is no plain tensor"),
    ],
    ids=str,
)
def test_values_that_are_no_weights_are_refused(
    tmp_path: Path, value: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(model(), saved(tmp_path, head__weight=value))
    assert "a.pth" in str(caught.value)


def test_statistics_are_looked_at_too_and_the_model_keeps_its_values(tmp_path: Path) -> None:
    target = model()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    path = saved(tmp_path, norm__running_var=torch.tensor([1.0, torch.inf]))
    with pytest.raises(ValueError, match=r"norm\.running_var holds inf, in 1 of 2"):
        load_weights(target, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_taken(tmp_path: Path, dtype: torch.dtype) -> None:
    target = model()
    load_weights(target, saved(tmp_path, head__weight=GOOD.to(dtype)))
    assert torch.equal(target["head"].weight, GOOD)


def test_what_the_model_does_not_have_may_hold_anything(tmp_path: Path) -> None:
    path = saved(tmp_path, extra=torch.full((3,), torch.nan))
    assert load_weights(model(), path).unexpected == ("extra",)


def test_names_without_shapes_that_fit_show_both_sides(tmp_path: Path) -> None:
    torch.save(nn.ModuleDict({"head": nn.Linear(5, 9)}).state_dict(), tmp_path / "a.pth")
    target = nn.ModuleDict({"head": nn.Linear(3, 2)})
    with pytest.raises(ValueError, match="none has the same shape") as caught:
        load_weights(target, tmp_path / "a.pth")
    for part in ("head.weight (9, 5)", "head.weight (2, 3)", "a.pth", "ModuleDict"):
        assert part in str(caught.value)


def test_other_names_show_both_sides(tmp_path: Path) -> None:
    torch.save({"encoder.w": torch.zeros(7, 7)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="fits nowhere") as caught:
        load_weights(model(), tmp_path / "a.pth")
    assert "encoder.w (7, 7)" in str(caught.value)
    assert "head.weight (2, 3)" in str(caught.value)


def test_a_file_without_tensors_is_told(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="it holds no tensors"):
        load_weights(model(), tmp_path / "a.pth")
