"""Recurrent layers compute in half as a GPU's: half states, fp32 gates, one rounding a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from halftrack.precision import Precision, RangeMeter
from halftrack.precision.autocast_lists import RECURRENT as LISTED
from halftrack.precision.recurrent import RECURRENT

FP16 = Precision.named("fp16")

KINDS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "LSTM, projected": {"proj_size": 5},
    "GRU": {},
    "RNN": {},
    "RNN, relu": {"nonlinearity": "relu", "bias": False},
}


def layer_of(kind: str, **how: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    return getattr(nn, kind.partition(",")[0])(6, 8, num_layers=2, **KINDS[kind], **how)


def sequences(count: int = 3) -> Tensor:
    return torch.randn(7, count, 6, generator=torch.Generator().manual_seed(1))


def rows(out: Any) -> Tensor:
    return out.data if isinstance(out, PackedSequence) else out


def first(out: Any) -> Tensor:
    """The hidden state among a cell's results."""
    return out[0] if isinstance(out, tuple) else out


def test_every_listed_layer_has_its_own_arithmetic() -> None:
    assert {*LISTED, "lstm_cell", "gru_cell"} == set(RECURRENT)


# Torch says so of the fp32 layer that the half one is compared with.
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_within_half_of_fp32_with_the_same_dropout(kind: str, packed: bool) -> None:
    layer = layer_of(kind, bidirectional=True, batch_first=not packed, dropout=0.2)
    x: Any = pack_padded_sequence(sequences(), [7, 5, 2]) if packed else sequences().transpose(0, 1)
    results = []
    for precision in (Precision(), FP16):
        torch.manual_seed(2)
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                out, states = layer(x)
            rows(out).sum().backward()
        last = [states] if isinstance(states, Tensor) else [*states]
        results.append([rows(out).detach(), *last, *(p.grad for p in layer.parameters())])
        assert {each.dtype for each in (rows(out), *last)} == {precision.dtype}
        layer.zero_grad(set_to_none=True)
    for exact, half in zip(*results, strict=True):
        assert (half.float() - exact).norm() <= 2e-3 * exact.norm()


def test_an_lstm_rounds_its_hidden_state_alone() -> None:
    layer = nn.LSTM(6, 8)
    with torch.no_grad(), FP16.autocast("cpu"):
        out, (_, last) = layer(sequences())
    w_ih, w_hh, b_ih, b_hh = (p.detach().half().double() for p in layer.parameters())
    hidden = cell = torch.zeros(3, 8, dtype=torch.float64)
    exact = []
    for x in sequences().half().double():
        gates = F.linear(x, w_ih, b_ih) + F.linear(hidden, w_hh, b_hh)
        enter, forget, content, leave = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * content.tanh()
        hidden = (leave.sigmoid() * cell.tanh()).half().double()
        exact.append(hidden)
    assert (out == torch.stack(exact).half()).double().mean() >= 0.99
    assert (last[0] == cell.half()).double().mean() >= 0.95


def test_a_half_model_and_an_fp32_island_compute_in_what_they_are() -> None:
    layer, x = layer_of("GRU"), sequences()
    with torch.no_grad(), FP16.arithmetic("cpu"):
        expected = layer(x)[0]
        with FP16.autocast("cpu"), torch.autocast("cuda", enabled=False):
            island = layer(x)[0]
        half = layer.half()(x.half())[0]
    assert torch.equal(island, expected)
    assert half.dtype == torch.float16
    assert (half - expected).abs().max() < 1e-2


def test_weights_too_large_for_half_are_seen_in_the_layer() -> None:
    model = nn.Sequential(layer_of("LSTM"))
    with torch.no_grad():
        model[0].weight_hh_l1.mul_(1e6)
    with RangeMeter(model) as meter, FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        out, _ = model(sequences())
    assert out.dtype == torch.float16
    assert meter.ranges.activations["0"].total > 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell])
def test_a_cell_alone_rounds_its_products_and_its_states(kind: Any, bias: bool) -> None:
    torch.manual_seed(0)
    cell, x = kind(6, 64, bias=bias), sequences(16)[0]
    with torch.no_grad(), FP16.autocast("cpu"):
        made = cell(x)
        again = cell(x, made)
    hidden, *cells = made if isinstance(made, tuple) else (made,)
    new, *new_cells = again if isinstance(again, tuple) else (again,)
    weights = [p.detach().half() for p in cell.parameters()]
    products = [
        F.linear(value.double(), weight.double()).half().double()
        for value, weight in zip((x.half(), hidden), weights, strict=False)
    ]
    if bias:
        products = [p + b.double() for p, b in zip(products, weights[2:], strict=True)]
    if cells:
        enter, forget, content, leave = sum(products).chunk(4, 1)
        exact = forget.sigmoid() * cells[0].double() + enter.sigmoid() * content.tanh()
        assert (new_cells[0] == exact.half()).double().mean() >= 0.99
        exact = leave.sigmoid() * exact.tanh()
    else:
        (reset, update, content), of_hidden = products[0].chunk(3, 1), products[1].chunk(3, 1)
        content = (content + (reset + of_hidden[0]).sigmoid() * of_hidden[2]).tanh()
        exact = content + (update + of_hidden[1]).sigmoid() * (hidden.double() - content)
    assert (new == exact.half()).double().mean() >= 0.99


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_cell_learns_within_half_of_fp32_and_rests_in_fp32(kind: Any) -> None:
    torch.manual_seed(0)
    cell, x = kind(6, 8), sequences()[0]
    results = []
    for precision in (Precision(), FP16):
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                hidden = first(cell(x))
            hidden.float().square().sum().backward()
        assert hidden.dtype == precision.dtype
        results.append([hidden.detach(), *(p.grad for p in cell.parameters())])
        cell.zero_grad(set_to_none=True)
    for exact, half in zip(*results, strict=True):
        assert (half.float() - exact).norm() <= 2e-3 * exact.norm()
    with FP16.arithmetic("cpu"):
        assert torch.equal(first(cell(x)), results[0][0])
