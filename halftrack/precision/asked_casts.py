"""Casts of ops that none of our lists has: CUDA autocast is asked, on tensors without values.

Such are ops of other libraries, as torchvision's ``deform_conv2d``, and what a later torch adds to
its own lists. No GPU is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from halftrack.precision.as_cuda import autocast_on_a_gpu

__all__ = ["asked_kernel"]

_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)

Dtypes = list[torch.dtype | None]
"""Dtypes of the leaves of a tree; None of what is no tensor."""


@cache
def asked_kernel(op: Any) -> Callable[..., Any]:
    """A kernel for autocast on a CPU, which casts as CUDA autocast casts for the same op.

    CUDA autocast is asked once for each combination of dtypes.

    Args:
        op: an overload that CUDA autocast has an entry for.
    """
    answers = dict[Any, _Answer]()

    def kernel(*args: Any, **kwargs: Any) -> Any:
        named = _named(op, args, kwargs)
        dtype = torch.get_autocast_dtype("cpu")
        key = (dtype, *(tuple(_dtypes(value)) for value in named.values()))
        if key not in answers:
            answers[key] = _ask(op, named, dtype)
        answer = answers[key]
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            result = op(**{name: _to(value, answer.given[name]) for name, value in named.items()})
        if answer.returned == answer.made:
            return result
        return _to(result, answer.returned)

    return kernel


def _ask(op: Any, named: Mapping[str, Any], dtype: torch.dtype) -> _Answer:
    """The answer of CUDA autocast, switched on with a dtype, to arguments of these shapes.

    Raises:
        NotImplementedError: if it calls other ops in place of this one.
    """
    answer = _Answer(op)
    # In inference mode an op that is composed of others arrives whole.
    with _disable_current_modes(), torch.inference_mode(), FakeTensorMode():
        without_values = tree_map(
            lambda each: (
                torch.empty(each.shape, dtype=each.dtype, device="cuda")
                if isinstance(each, Tensor)
                else each
            ),
            dict(named),
        )
        with autocast_on_a_gpu(dtype), answer:
            answer.returned = _dtypes(op(**without_values))
    if not answer.given:
        raise NotImplementedError(f"{op}: CUDA autocast calls other ops in its place")
    return answer


class _Answer(TorchDispatchMode):
    """Answers an op in its place, with tensors of one element, and keeps what it was given."""

    def __init__(self, op: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._op = op
        self.given = dict[str, Dtypes]()
        """Dtypes of each argument, once it is cast."""
        self.made: Dtypes = []
        """Dtypes of the results as the op made them, which are those of its first operand."""
        self.returned: Dtypes = []
        """Dtypes of the results as autocast returned them."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not self._op:
            return func(*args, **(kwargs or {}))
        self.given = {name: _dtypes(value) for name, value in _named(func, args, kwargs).items()}
        operands = [dtype for dtypes in self.given.values() for dtype in dtypes if dtype]
        made = next((dtype for dtype in operands if dtype.is_floating_point), torch.float32)
        results = tuple(torch.empty((), dtype=made, device="cuda") for _ in func._schema.returns)
        self.made = _dtypes(results)
        return results[0] if len(results) == 1 else results or None


def _named(op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    names = (argument.name for argument in op._schema.arguments)
    return dict(zip(names, args, strict=False)) | dict(kwargs or {})


def _dtypes(tree: Any) -> Dtypes:
    return [leaf.dtype if isinstance(leaf, Tensor) else None for leaf in tree_leaves(tree)]


def _to(tree: Any, dtypes: Dtypes) -> Any:
    leaves, shape = tree_flatten(tree)
    cast = [
        leaf if dtype is None else leaf.to(dtype)
        for leaf, dtype in zip(leaves, dtypes, strict=True)
    ]
    return tree_unflatten(cast, shape)
