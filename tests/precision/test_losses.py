"""A step returns a loss, a dict of terms or an output with ``.loss``; anything else is refused."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from halftrack.precision import PrecisionError
from halftrack.precision.losses import loss_terms

LOSS = torch.tensor(2.0, requires_grad=True)


class Output(OrderedDict):
    """A mapping with attributes, as the outputs of transformers are."""

    @property
    def loss(self) -> Any:
        return self.get("loss")


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (LOSS, ["loss"]),
        (LOSS.reshape(1), ["loss"]),
        (SimpleNamespace(loss=LOSS, logits=torch.zeros(3)), ["loss"]),
        (Output(loss=LOSS, logits=torch.zeros(3, requires_grad=True)), ["loss"]),
        ({"loss_a": LOSS, "loss_b": LOSS * 2, "accuracy": 0.5}, ["loss_a", "loss_b"]),
        ({"loss": LOSS, "loss_a": LOSS, "n": torch.tensor(3)}, ["loss"]),
        ({"classification": LOSS, "seen": torch.tensor(3)}, ["classification"]),
    ],
)
def test_what_is_trained_is_found(returned: Any, names: list[str]) -> None:
    terms = loss_terms(returned)
    assert list(terms) == names
    assert all(term.shape == () and term.requires_grad for term in terms.values())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.zeros(3), r"the loss has the shape \(3,\): expected one number, as .mean\(\)"),
        ({"loss_a": torch.zeros(2)}, "the entry 'loss_a' has the shape"),
        (None, "returned a NoneType: expected a scalar tensor, a dict of them"),
        ((LOSS, LOSS), "returned a tuple: expected"),
        (Output(logits=torch.zeros(3)), r"Output whose .loss is None \(are there labels"),
        ({"acc": torch.tensor(1.0), "n": 3}, r"a dict with \['acc', 'n'\], none of which"),
    ],
)
def test_what_is_no_loss_is_said(returned: Any, message: str) -> None:
    with pytest.raises(PrecisionError, match=message):
        loss_terms(returned)
