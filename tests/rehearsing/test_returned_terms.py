"""Loss terms count once they are learned from, by name and place in the graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from halftrack.precision.nonfinite import NonFiniteTrace
from halftrack.rehearsing.returned_terms import ReturnedTerms

WEIGHT = torch.ones(3, requires_grad=True)


def test_terms_without_a_backward_pass_do_not_count() -> None:
    terms = ReturnedTerms()
    for factor in (1.0, 2.0, 3.0):
        output = {"loss_b": (factor * WEIGHT).sum(), "loss_a": WEIGHT.sum()}
        terms.take(output)
        if factor != 2.0:
            sum(output.values()).backward()
    assert list(terms.means().items()) == [("loss_b", 6.0), ("loss_a", 3.0)]
    terms.clear()
    assert terms.means() == {}


def test_a_term_is_counted_once_however_often_it_is_learned_from() -> None:
    terms, loss = ReturnedTerms(), WEIGHT.sum()
    terms.take({"loss_a": loss})
    for _ in range(2):
        loss.backward(retain_graph=True)
    terms.take({"loss_a": 3.0 * WEIGHT.sum()})
    assert terms.means() == {"loss_a": 3.0}


@pytest.mark.parametrize(
    "output",
    [
        WEIGHT.sum(),
        {"loss": WEIGHT.sum()},
        {"features": 2.0 * WEIGHT},
        {"accuracy": torch.tensor(0.5)},
        {"name": "a"},
    ],
    ids=["no dict", "the sum", "no single number", "not learned", "no tensor"],
)
def test_what_is_no_loss_term_is_left_alone(output: object) -> None:
    terms = ReturnedTerms()
    terms.take(output)
    for value in output.values() if isinstance(output, dict) else [output]:
        if isinstance(value, Tensor) and value.requires_grad:
            value.sum().backward()
    assert terms.means() == {}


def test_values_within_a_transform_are_left_alone() -> None:
    terms = ReturnedTerms()

    def loss(weight: Tensor) -> Tensor:
        output = {"loss_a": weight.sum()}
        terms.take(output)
        return output["loss_a"]

    torch.func.grad(loss)(WEIGHT.detach())
    assert terms.means() == {}


def test_the_term_that_is_not_finite_by_an_event_suffers_from_it() -> None:
    trace, terms = NonFiniteTrace(nn.Module(), ()), ReturnedTerms()
    with trace:
        output = {"loss_a": (WEIGHT * 3e38 * 3e38).sum(), "loss_b": WEIGHT.sum()}
        terms.take(output)
        sum(output.values()).backward()
    event = trace.origin([output["loss_a"]])
    assert event is not None
    assert terms.that_suffer(event, trace) == ["loss_a"]
