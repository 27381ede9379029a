"""Facts of ops that a dispatch mode asks for, and the question whether a tensor is finite."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from halftrack.precision.ops import is_finite, op_of, tensors_in

aten = torch.ops.aten
MANY = 1 << 17


@pytest.mark.parametrize("count", [3, MANY])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_value_that_is_not_finite_is_found_whatever_its_sign(
    dtype: torch.dtype, count: int
) -> None:
    info = torch.finfo(dtype)
    # A float64 is judged as the fp32 that a step would make of it.
    most = min(info.max, torch.finfo(torch.float32).max)
    values = torch.full((count,), most, dtype=dtype)
    values[1::2] = -most
    values[2] = info.tiny
    assert is_finite(values)
    for bad in (torch.inf, -torch.inf, torch.nan, -torch.tensor(torch.nan)):
        values[1] = bad
        assert not is_finite(values)


def test_tensors_of_any_layout_and_class_are_asked() -> None:
    x = torch.ones(2, MANY).half()
    x[1, 7] = -torch.inf
    assert not is_finite(x.t())
    assert is_finite(x[0])
    assert is_finite(x[:0])
    assert not is_finite(torch.nn.Parameter(x))
    assert is_finite(torch.ones(3, dtype=torch.int64))
    assert is_finite(x.to_sparse())


class Wrapper(Tensor):
    """A tensor without memory of its own, as a DTensor is."""

    content: Tensor

    @staticmethod
    def __new__(cls, content: Tensor) -> Wrapper:
        made = Tensor._make_wrapper_subclass(cls, content.shape, dtype=content.dtype)
        made.content = content
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*(getattr(each, "content", each) for each in args), **(kwargs or {}))
        return Wrapper(made) if isinstance(made, Tensor) else made


def test_tensors_that_wrap_others_are_asked_whatever_their_size() -> None:
    x = torch.ones(MANY).half()
    assert is_finite(Wrapper(x))
    x[1] = torch.inf
    assert not is_finite(Wrapper(x))


def test_no_mode_sees_the_question() -> None:
    class Seen(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.count += 1
            return func(*args, **(kwargs or {}))

    small, large = torch.ones(3), torch.ones(MANY).half()
    with Seen() as seen:
        assert is_finite(small)
        assert is_finite(large)
        assert seen.count == 0
        small.add(1)
    assert seen.count == 1


def test_names_are_common_to_devices_and_variants() -> None:
    assert op_of(aten._softmax.default).name == "softmax"
    assert op_of(aten._to_copy.default).name == "cast"
    assert op_of(aten._native_batch_norm_legit.default).name == "batch_norm"
    assert op_of(aten.mul_.Tensor).name == "mul"


def test_views_and_unwritten_memory_make_no_values() -> None:
    assert not op_of(aten.view.default).makes_values
    assert not op_of(aten.new_empty.default).makes_values
    assert op_of(aten.relu.default).makes_values


def pointers(values: object) -> list[int]:
    assert isinstance(values, tuple | list)
    return [tensor.data_ptr() for tensor in tensors_in(values)]


def test_what_an_op_overwrites_is_kept_and_nothing_else() -> None:
    x, y = torch.ones(3), torch.ones(3)
    args, kwargs = op_of(aten.mul_.Tensor).before((x, y), {})
    assert kwargs == {}
    assert args[0].data_ptr() != x.data_ptr()
    assert args[1] is y
    assert op_of(aten.mul.Tensor).before((x, y), {})[0] == (x, y)


def test_an_argument_that_shares_the_overwritten_memory_is_kept_too() -> None:
    x = torch.ones(3)
    args, _ = op_of(aten.mul_.Tensor).before((x, x.view(3)), {})
    x.mul_(x)
    x.mul_(5.0)
    assert [value.tolist() for value in args] == [[1.0] * 3] * 2


def test_lists_and_named_arguments_are_kept() -> None:
    listed: list[Tensor] = [torch.ones(2), torch.ones(2)]
    args, _ = op_of(aten._foreach_mul_.Scalar).before((listed, 2.0), {})
    assert not set(pointers(args)) & set(pointers(listed))
    out = torch.ones(2)
    _, kwargs = op_of(aten.mul.out).before((listed[0], listed[1]), {"out": out})
    assert kwargs["out"].data_ptr() != out.data_ptr()


def test_a_batch_norm_changes_its_statistics_alone() -> None:
    x, ones = torch.ones(2, 3), torch.ones(3)
    mean, var = torch.zeros(3), torch.ones(3)
    args, _ = op_of(aten.native_batch_norm.default).before(
        (x, ones, ones, mean, var, True, 0.1, 1e-5), {}
    )
    assert args[0] is x
    assert args[3].data_ptr() != mean.data_ptr()
    assert args[4].data_ptr() != var.data_ptr()
