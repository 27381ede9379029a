"""The precision of a run, a small immutable value, and the fp32 islands that models mark.

Models never ask which precision they run in. A precision is made and checked without torch, which
is imported where it is computed with.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar

from halftrack.precision.errors import PrecisionError
from halftrack.precision.loss_scale import (
    DynamicLossScale,
    LossScale,
    NoLossScale,
    StaticLossScale,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Precision", "fp32_island", "remove_islands"]

PrecisionName = Literal["fp32", "tf32", "bf16", "fp16"]
P = ParamSpec("P")
R = TypeVar("R")

_MOST_SCALE = 2.0**32  # far beyond it every loss of a half-precision run overflows
_DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Precision:
    """Precision of a run: its name, its loss scale and the modules that stay in fp32.

    One training step, the same in every precision, on a GPU or rehearsed on a CPU::

        precision = Precision("fp16", "dynamic", keep_fp32=("head*",))
        precision.keep_in_fp32(model)
        loss_scale = precision.new_loss_scale()
        with precision.arithmetic(device):
            with precision.autocast(device):
                loss = model(batch)
            loss_scale.scale(loss).backward()
        report = optimizer_step([optimizer], loss_scale)

    Raises:
        ValueError: for an unknown name or a loss scale that does not go with it.
    """

    name: PrecisionName = "fp32"
    """``fp32``, on every device; ``tf32``, whose products round their operands to 10 mantissa
    bits; ``bf16`` or ``fp16``."""
    loss_scale: float | Literal["dynamic"] | None = None
    """Factor of the loss: None, a number, or ``dynamic``; fp16 only."""
    keep_fp32: tuple[str, ...] = ()
    """Patterns (``fnmatch``) of module paths that compute in fp32 within half precision."""

    def __post_init__(self) -> None:
        if self.name not in _DTYPES:
            raise PrecisionError(f"precision {self.name!r} is not one of {', '.join(_DTYPES)}")
        scale = self.loss_scale
        if scale is None:
            return
        if self.name != "fp16":
            raise PrecisionError(
                f"loss scale {scale!r} with {self.name}: only fp16 needs a loss scale"
            )
        if scale == "dynamic":
            return
        number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if not number or not 0 < scale <= _MOST_SCALE:
            raise PrecisionError(
                f"loss scale {scale!r} is not None, 'dynamic' or a positive number, at most 2**32"
            )

    @classmethod
    def named(cls, name: str) -> Precision:
        """The precision of a name with its usual loss scale, which is dynamic for fp16.

        Raises:
            ValueError: for an unknown name.
        """
        return cls(name, "dynamic" if name == "fp16" else None)  # type: ignore[arg-type]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of convolutions and matrix products."""
        import torch

        dtype: torch.dtype = getattr(torch, _DTYPES[self.name])
        return dtype

    def new_loss_scale(self) -> LossScale:
        """A new loss scale for a run, which changes as it is used."""
        if self.loss_scale == "dynamic":
            return DynamicLossScale()
        if self.loss_scale is not None:
            return StaticLossScale(self.loss_scale)
        # fp16 without a scale still skips and counts overflowed steps.
        return StaticLossScale(1.0) if self.name == "fp16" else NoLossScale()

    @property
    def is_half(self) -> bool:
        """True for ``bf16`` and ``fp16``."""
        return self.name in ("bf16", "fp16")

    def is_rehearsed(self, device: torch.device | str) -> bool:
        """True if the device does not compute in this precision itself: a CPU in all but fp32."""
        return self.name != "fp32" and str(device).startswith("cpu")

    def in_words(self, device: torch.device | str) -> str:
        """The name, and whether a device rehearses it."""
        return f"{self.name}, rehearsed" if self.is_rehearsed(device) else self.name

    @contextmanager
    def arithmetic(self, device: torch.device | str) -> Iterator[None]:
        """Context for forward AND backward: a GPU's TF32 on or off, on a CPU the rehearsal."""
        with ExitStack() as stack:
            rehearsed = self.is_rehearsed(device)
            stack.enter_context(_tf32_switched(self.name == "tf32" and not rehearsed))
            if rehearsed:
                from halftrack.precision.rehearsal import rehearsal
                from halftrack.precision.tf32 import tf32_rehearsal

                stack.enter_context(rehearsal() if self.is_half else tf32_rehearsal())
            yield

    @contextmanager
    def autocast(self, device: torch.device | str) -> Iterator[None]:
        """Context for the forward pass: CUDA autocast's choice of dtypes, on a CPU as well."""
        import torch

        with ExitStack() as stack:
            stack.enter_context(self.arithmetic(device))
            if self.is_half:
                stack.enter_context(torch.autocast(torch.device(device).type, dtype=self.dtype))
            yield

    @contextmanager
    def inference(self, device: torch.device | str) -> Iterator[None]:
        """Context for inference: no gradients, this precision's arithmetic and its autocast."""
        import torch

        with torch.no_grad(), self.arithmetic(device), self.autocast(device):
            yield

    def keep_in_fp32(self, model: nn.Module) -> tuple[str, ...]:
        """Make fp32 islands of the modules that ``keep_fp32`` matches; returns their paths.

        Everything that a matched module and those inside it compute is in fp32, whichever of their
        methods is called. Copies, pickles and saved models have islands of their own;
        ``remove_islands`` undoes them.

        Raises:
            ValueError: if a pattern matches no module; names the nearest paths.
        """
        modules = dict(model.named_modules())
        chosen: dict[str, nn.Module] = {}
        for pattern in self.keep_fp32:
            matches = {
                path: m for path, m in modules.items() if path and fnmatchcase(path, pattern)
            }
            if not matches:
                near = difflib.get_close_matches(pattern, filter(None, modules), n=3, cutoff=0.0)
                raise PrecisionError(
                    f"keep_fp32 pattern {pattern!r} matches no module; the nearest are "
                    f"{', '.join(near)}"
                )
            chosen |= matches
        for module in {part for match in chosen.values() for part in match.modules()}:
            _make_island(module)
        return tuple(chosen)


@contextmanager
def _tf32_switched(on: bool) -> Iterator[None]:
    """Let a GPU use TF32 in all convolutions and matrix products, or in none, inside the context.

    A CPU's own products are fp32 either way, unless the user has asked torch to shorten operands.
    The switches are the process's, set in this file alone; they are put back.
    """
    import torch

    cudnn: Any = torch.backends.cudnn
    onednn: Any = torch.backends.mkldnn
    of_gpu = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [(each, each.fp32_precision) for each in (*of_gpu, onednn.matmul, onednn.conv)]
    try:
        for switch, _ in before:
            switch.fp32_precision = "tf32" if on and switch in of_gpu else "ieee"
        yield
    finally:
        for switch, precision in before:
            switch.fp32_precision = precision


def fp32_island(function: Callable[P, R]) -> Callable[P, R]:
    """Compute a function in fp32: half arguments are widened, and nothing inside is cast to half.

    A decorator; say the numerical reason beside it. Tensors are found in containers too::

        @fp32_island  # squared distances of features pass 65504
        def distances(features: Tensor, centres: Tensor) -> Tensor:
            return torch.cdist(features, centres).square()
    """
    if inspect.ismethod(function):
        return _BoundIsland(function)

    @functools.wraps(function)
    def island(*args: P.args, **kwargs: P.kwargs) -> R:
        from halftrack.precision.dtypes import call_in_fp32

        return call_in_fp32(function, args, kwargs)

    return island


def remove_islands(model: nn.Module) -> None:
    """Undo ``Precision.keep_in_fp32``: the model's modules compute in the run's precision again.

    Functions and methods decorated with ``fp32_island`` stay islands.
    """
    for module in model.modules():
        if "_island_of" in vars(type(module)):
            module.__class__ = vars(type(module))["_island_of"]


class _BoundIsland(Generic[P, R]):
    """An island made of a bound method; copied with its object, it is bound to the copy."""

    def __init__(self, method: Callable[P, R]) -> None:
        self._method: Any = method

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        island: Callable[..., R] = fp32_island(self._method.__func__)
        return island(self._method.__self__, *args, **kwargs)


def _make_island(module: nn.Module) -> None:
    """Swap the module's class, so that a copy's methods are the copy's own."""
    if not hasattr(type(module), "_island_of"):
        plain: Any = type(module)
        module.__class__ = _island_class(plain)


@functools.cache
def _island_class(plain: type[nn.Module]) -> type[nn.Module]:
    """The subclass of a class of modules whose every method is an island, forward or not."""
    from torch import nn

    class Island(plain):  # type: ignore[misc, valid-type]
        _island_of = plain

        def __reduce_ex__(self, protocol: Any) -> Any:
            # By the plain class, which pickle can find; what is read back becomes an island again.
            make, args, *state = super().__reduce_ex__(protocol)
            made = [plain if value is Island else value for value in (make, *args)]
            return (_restore_island, tuple(made), *state)

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(Island, name, getattr(plain, name))
    own = plain.__mro__[: plain.__mro__.index(nn.Module)]
    for name in {name for cls in own for name in vars(cls)}:
        method = inspect.getattr_static(plain, name)
        if _computes(name, nn.Module) and _is_method(method):
            setattr(Island, name, fp32_island(method))
    if becomes := getattr(plain, "cls_to_become", None):  # a lazy module, once it has its weights
        Island.cls_to_become = _island_class(becomes)
    return Island


def _computes(name: str, every: type) -> bool:
    """True unless the name is of a method that every module has; ``forward`` computes."""
    bookkeeping = name.startswith("__") or name == "reset_parameters" or hasattr(every, name)
    return name == "forward" or not bookkeeping


def _is_method(value: Any) -> bool:
    if isinstance(value, staticmethod | classmethod | type):
        return False
    return callable(value) and hasattr(type(value), "__get__")


def _restore_island(make: Callable[..., nn.Module], *args: Any) -> nn.Module:
    """The inverse of an island's ``__reduce_ex__``."""
    module = make(*args)
    _make_island(module)
    return module
