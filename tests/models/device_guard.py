"""Finds tensors that are made on the default device instead of their input's."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class DeviceGuard(TorchFunctionMode):
    """Raises where a tensor is made without saying on which device."""

    factories = (
        *("arange", "as_tensor", "empty", "empty_strided", "eye", "full", "linspace", "logspace"),
        *("ones", "rand", "randint", "randn", "randperm", "tensor", "zeros"),
    )

    def __init__(self) -> None:
        self.watched = {getattr(torch, name) for name in self.factories}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.watched and "device" not in (kwargs or {}):
            raise AssertionError(f"{func.__name__} without an explicit device")
        return func(*args, **(kwargs or {}))
