"""Recurrent layers (LSTM, GRU, RNN) in half precision as a GPU's cuDNN computes them.

Assumed of cuDNN, whose kernels are not public: weights, inputs and hidden states are half, products
are summed in fp32 (the compute type that torch asks for), gates and their non-linearities stay
fp32, and so does the cell state within a sequence. A hidden state is rounded once a step, forward
and backward; gradients of weights add up over a sequence in fp32 and are rounded once.

A cell alone (``nn.LSTMCell``, ``nn.GRUCell``) is two half products and one kernel, which is public
(ATen/native/cuda/RNN.cu): all of it in fp32, the new states rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.precision.dtypes import HALF

__all__ = ["RECURRENT"]

States = tuple[Tensor, ...]
"""Hidden state, in half; of an LSTM the cell state in fp32 too."""
Cell = Callable[[Tensor, Tensor, States], States]
"""One step, from the input's part of the gates, the hidden state's, and the states before."""


def _lstm(of_input: Tensor, of_hidden: Tensor, states: States) -> States:
    hidden, cell = states
    enter, forget, content, leave = (of_input + of_hidden).chunk(4, dim=1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * content.tanh()
    return (leave.sigmoid() * cell.tanh()).to(hidden.dtype), cell


def _gru(of_input: Tensor, of_hidden: Tensor, states: States) -> States:
    (hidden,) = states
    reset, update, content = of_input.chunk(3, dim=1)
    of_reset, of_update, of_content = of_hidden.chunk(3, dim=1)
    new = (content + (reset + of_reset).sigmoid() * of_content).tanh()
    return (torch.lerp(new, hidden.float(), (update + of_update).sigmoid()).to(hidden.dtype),)


def _rnn_tanh(of_input: Tensor, of_hidden: Tensor, states: States) -> States:
    return ((of_input + of_hidden).tanh().to(states[0].dtype),)


def _rnn_relu(of_input: Tensor, of_hidden: Tensor, states: States) -> States:
    return ((of_input + of_hidden).relu().to(states[0].dtype),)


def _of_batch(cell: Cell, composite: Any) -> Callable[..., Any]:
    """The overload whose sequences, (T, N, I) or (N, T, I), are equally long."""

    def kernel(x: Tensor, hx: Any, params: list[Tensor], *rest: Any) -> Any:
        if x.dtype not in HALF or x.numel() == 0:
            return composite._op_dk(_COMPOSITE, x, hx, params, *rest)
        *how, batch_first = rest
        steps = x.transpose(0, 1) if batch_first else x
        sizes = [steps.shape[1]] * steps.shape[0]
        rows, *states = _layers(cell, steps.flatten(0, 1), sizes, hx, params, *how)
        out = rows.unflatten(0, steps.shape[:2])
        return (out.transpose(0, 1) if batch_first else out, *states)

    return kernel


def _of_packed(cell: Cell, composite: Any) -> Callable[..., Any]:
    """The overload whose sequences are packed, step by step and the longest first."""

    def kernel(rows: Tensor, batch_sizes: Tensor, hx: Any, params: list[Tensor], *how: Any) -> Any:
        if rows.dtype not in HALF:
            return composite._op_dk(_COMPOSITE, rows, batch_sizes, hx, params, *how)
        return _layers(cell, rows, batch_sizes.tolist(), hx, params, *how)

    return kernel


def _alone(cell: Cell, composite: Any) -> Callable[..., Any]:
    """One step that is called for itself, whose two products are rounded before they are added."""

    def kernel(
        x: Tensor,
        hx: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        if x.dtype not in HALF:
            return composite._op_dk(_COMPOSITE, x, hx, w_ih, w_hh, b_ih, b_hh)
        hidden, *cells = [hx] if isinstance(hx, Tensor) else hx
        of_input, of_hidden = F.linear(x, w_ih).float(), F.linear(hidden, w_hh).float()
        if b_ih is not None and b_hh is not None:
            of_input, of_hidden = of_input + b_ih.float(), of_hidden + b_hh.float()
        made = cell(of_input, of_hidden, (hidden, *(each.float() for each in cells)))
        states = tuple(state.to(x.dtype) for state in made)
        return states if cells else states[0]

    return kernel


def _layers(
    cell: Cell,
    rows: Tensor,
    sizes: list[int],
    hx: Tensor | list[Tensor],
    params: list[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> States:
    """Outputs of the last layer, a row for each step of each sequence, and all last states.

    Args:
        cell: one step.
        rows: inputs, step by step.
        sizes: sequences that have each step.
        hx: first hidden states, (layers * directions, N, H), and cell states.
        params: weights of each layer and direction as torch lists them.
        has_biases: as ``nn.LSTM.bias``.
        num_layers: the number of layers.
        dropout: share of the values between layers that is dropped.
        train: whether it is.
        bidirectional: whether each layer reads backward too.
    """
    first = [hx] if isinstance(hx, Tensor) else hx
    projects = len(first) == 2 and first[0].shape[2] != first[1].shape[2]
    each = 2 + 2 * has_biases + projects
    directions = 1 + bidirectional
    last: list[States] = []
    for layer in range(num_layers):
        outs = []
        for backward in range(directions):
            place = layer * directions + backward
            weights = params[place * each : (place + 1) * each]
            states = tuple(state[place] for state in first)
            out, states = _sequence(cell, rows, sizes, states, weights, bool(backward), projects)
            outs.append(out)
            last.append(states)
        rows = torch.cat(outs, dim=1) if bidirectional else outs[0]
        if layer < num_layers - 1:
            rows = F.dropout(rows, dropout, train)
    return (rows, *(torch.stack(states).to(rows.dtype) for states in zip(*last, strict=True)))


def _sequence(
    cell: Cell,
    rows: Tensor,
    sizes: Sequence[int],
    states: States,
    weights: Sequence[Tensor],
    backward: bool,
    projects: bool,
) -> tuple[Tensor, States]:
    """One layer in one direction: its outputs and last states."""
    # Widened once, so that gradients of a weight add up over all steps before they are rounded.
    wide = [weight.float() for weight in weights]
    projection = wide.pop() if projects else None
    of_input, of_hidden, *biases = wide
    in_bias, hidden_bias = biases or (None, None)
    inputs = F.linear(rows.float(), of_input, in_bias).split(list(sizes))
    hidden, *cells = states
    states = (hidden, *(each.float() for each in cells))
    outs: list[Tensor] = [hidden] * len(sizes)
    for step in reversed(range(len(sizes))) if backward else range(len(sizes)):
        active = tuple(state[: sizes[step]] for state in states)
        gates = F.linear(active[0].float(), of_hidden, hidden_bias)
        hidden, *cells = cell(inputs[step], gates, active)
        if projection is not None:
            hidden = F.linear(hidden.float(), projection).to(hidden.dtype)
        new = (hidden, *cells)
        outs[step] = hidden
        # Sequences that have ended, or not begun, keep their states.
        kept = (state[sizes[step] :] for state in states)
        states = tuple(torch.cat(both) for both in zip(new, kept, strict=True))
    return torch.cat(outs), states


_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_CELLS = {"lstm": _lstm, "gru": _gru, "rnn_tanh": _rnn_tanh, "rnn_relu": _rnn_relu}

RECURRENT: dict[str, Callable[..., Any]] = {}
"""Layers and cells as functions with the arguments of torch's ops, by the names of those."""
for _name, _cell in _CELLS.items():
    _op = getattr(torch.ops.aten, _name)
    RECURRENT |= {f"{_name}.input": _of_batch(_cell, _op.input)}
    RECURRENT |= {f"{_name}.data": _of_packed(_cell, _op.data)}
# Cells of a plain RNN are composed on a GPU as on a CPU.
RECURRENT["lstm_cell"] = _alone(_lstm, torch.ops.aten.lstm_cell.default)
RECURRENT["gru_cell"] = _alone(_gru, torch.ops.aten.gru_cell.default)
