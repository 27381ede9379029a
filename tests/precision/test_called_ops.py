"""Ops of other libraries, and those that are one kernel on a GPU, are noted within ``Calls``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.precision import Precision, RangeMeter
from halftrack.precision.called_ops import CalledOps, Calls, noted

FP16 = Precision.named("fp16")


def test_only_calls_inside_are_noted_without_the_overload() -> None:
    double = noted("double.input", lambda x: 2 * x)
    double(1)
    with Calls() as outer, Calls() as inner:
        assert double(3) == 6
    double(1)
    assert outer.found == inner.found == CalledOps(fused=("double",))


def test_calls_end_one_by_one() -> None:
    first = Calls().__enter__()
    with Calls() as second:
        first.__exit__()
        noted("lstm.input", lambda: None)()
    assert second.found.fused == ("lstm",)
    assert first.found.fused == ()


def test_two_steps_are_joined() -> None:
    one, other = CalledOps(fused=("lstm",)), CalledOps(fused=("gru", "lstm"), uncast=("a::b",))
    assert one + other == CalledOps(fused=("gru", "lstm"), uncast=("a::b",))


def test_layers_of_a_rehearsed_step_are_seen_whatever_their_dtype() -> None:
    lstm, x = nn.LSTM(4, 4), torch.ones(2, 3, 4)
    with RangeMeter(lstm) as meter, FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        out = lstm(x)[0].float()
        torch.fft.rfft(out)
        with torch.autocast("cpu", enabled=False):
            F.scaled_dot_product_attention(x, x, x)
    fused = ("fft_rfft", "lstm", "scaled_dot_product_attention")
    assert meter.calls.found == CalledOps(fused=fused)


def test_an_op_that_cuda_autocast_knows_is_not_listed() -> None:
    def run(x: Tensor) -> Tensor:
        return x.clone()

    known = torch.library.custom_op("test_called_ops::known", run, mutates_args=())
    unknown = torch.library.custom_op("test_called_ops::unknown", run, mutates_args=())
    known.register_autocast("cuda", torch.float16)
    model, x = nn.Identity(), torch.ones(2)
    with RangeMeter(model) as meter, FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        unknown(known(x))
    assert meter.calls.found == CalledOps(uncast=("test_called_ops::unknown",))
