"""Part of a model whose weights and gradients several processes divide, each keeping a piece.

What the third stage of ZeRO shards (Rajbhandari et al. 2020, arXiv 1910.02054, section 5.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from halftrack.training.ranks import Ranks

__all__ = ["Part", "momentum_held"]

# Elements. Each parameter, and each process's piece of it, begins where vector instructions do: a
# piece is computed with as the whole is, to the last bit.
_ALIGNED = 64


class Part:
    """Parameters whose values lie one behind the other, of which this process keeps a piece.

    While the part is whole, the parameters are what they were; else they are NaN everywhere.

    Args:
        name: the part's path in the model.
        parameters: all of one dtype, on one device.
        ranks: the processes.
    """

    def __init__(self, name: str, parameters: Sequence[nn.Parameter], ranks: Ranks) -> None:
        self.name, self.parameters, self._ranks = name, list(parameters), ranks
        self._starts, self._share = _laid_out(parameters, ranks.size)
        self._layouts = [(each.shape, each.stride()) for each in parameters]
        self._absent = parameters[0].detach().new_full((), torch.nan)
        self._whole: Tensor | None = None
        self._collected: Tensor | None = None
        self.held = self.spread(parameters)
        """Piece ``(n,)`` of the weights."""
        self.pieces = [
            nn.Parameter(own, requires_grad=each.requires_grad)
            for own, each in zip(self.split(self.held), parameters, strict=True)
        ]
        """Piece ``(k,)`` of each parameter, maybe empty; they share the memory of ``held``."""
        self.gradients: Tensor | None = None
        """Piece ``(n,)`` of the gradients, summed over processes and passes."""
        self.release()

    @property
    def trains(self) -> bool:
        """True if any parameter of it trains."""
        return any(parameter.requires_grad for parameter in self.parameters)

    @torch.no_grad()
    def spread(self, values: Sequence[Tensor | None]) -> Tensor:
        """This process's piece ``(n,)`` of values of all parameters; None stands for zeros."""
        whole = self._absent.new_zeros(self._share * self._ranks.size)
        for view, value in zip(self._views(whole), values, strict=True):
            if value is not None:
                view.copy_(value)
        return self._own(whole).clone()

    def joined(self, held: Tensor) -> list[Tensor]:
        """Values of all parameters, of which each process holds a piece ``(n,)``."""
        return self._views(self._ranks.joined(held))

    def split(self, held: Tensor) -> list[Tensor]:
        """Divide a piece ``(n,)`` into that ``(k,)`` of each parameter, maybe empty."""
        before = self._share * self._ranks.rank
        sizes = zip(self._starts, map(Tensor.numel, self.parameters), strict=True)
        places = [_overlap(start - before, size, self._share) for start, size in sizes]
        return [held[place.start : place.stop] for place in places]

    def gather(self) -> None:
        """Make the parameters whole, as all processes hold them."""
        self._whole = self._ranks.joined(self.held)
        for parameter, view in zip(self.parameters, self._views(self._whole), strict=True):
            parameter.data = view

    def show(self, held: Tensor) -> None:
        """Give the parameters, which are whole, other values: of each process a piece ``(n,)``."""
        assert self._whole is not None
        self._whole.copy_(self._ranks.joined(held))

    @torch.no_grad()
    def keep(self) -> None:
        """Hold this process's piece of the parameters as they are now."""
        assert self._whole is not None
        self.held.copy_(self._own(self._whole))

    def release(self) -> None:
        """Forget all of the parameters but what is held."""
        self._whole = None
        for parameter in self.parameters:
            # Of the same shape: gradients still come to it, and whoever reads it sees NaN.
            parameter.data = self._absent.expand(parameter.shape)

    def has(self, tensor: Tensor) -> bool:
        """True of a view of the whole parameters."""
        if self._whole is None:
            return False
        return bool(tensor.untyped_storage()._cdata == self._whole.untyped_storage()._cdata)

    def view(self, shape: Sequence[int], stride: Sequence[int], start: int) -> Tensor:
        """A view of the whole parameters, given by its layout."""
        assert self._whole is not None
        return self._whole.as_strided(shape, stride, start)

    def collect(self) -> None:
        """Make room for the whole gradients, in which a backward pass adds them up."""
        if self._collected is not None:
            return
        self._collected = self.held.new_zeros(self._share * self._ranks.size)
        for parameter, view in zip(self.parameters, self._views(self._collected), strict=True):
            if parameter.requires_grad:
                parameter.grad = view

    def share_gradients(self, wire: torch.dtype | None) -> None:
        """Add the gradients of all processes up, of which this one keeps its piece.

        Args:
            wire: type that they travel in; None for their own.
        """
        self.collect()
        assert self._collected is not None
        for parameter in self.parameters:
            parameter.grad = None
        summed = self._ranks.summed_piece(self._collected, wire)
        self._collected = None
        self.gradients = summed if self.gradients is None else self.gradients.add_(summed)

    def _own(self, whole: Tensor) -> Tensor:
        return whole[self._share * self._ranks.rank :][: self._share]

    def _views(self, whole: Tensor) -> list[Tensor]:
        """The parameters' values, in their shapes and memory layouts."""
        return [
            whole.as_strided(shape, stride, start)
            for (shape, stride), start in zip(self._layouts, self._starts, strict=True)
        ]


def momentum_held(parameters: Sequence[nn.Parameter], processes: int) -> list[int]:
    """Values of a part that trains that each of so many processes holds.

    Args:
        parameters: of the part.
        processes: how many divide it.
    """
    starts, share = _laid_out(parameters, processes)
    held = [0] * processes
    for parameter, start in zip(parameters, starts, strict=True):
        if parameter.requires_grad:
            for rank in range(start // share, processes):
                held[rank] += len(_overlap(start - rank * share, parameter.numel(), share))
    return held


def _laid_out(parameters: Sequence[nn.Parameter], processes: int) -> tuple[list[int], int]:
    """The places where parameters begin, and the values that each process holds."""
    starts, size = [], 0
    for parameter in parameters:
        starts.append(size)
        size += _aligned(parameter.numel())
    return starts, _aligned(-(-size // processes))


def _overlap(start: int, size: int, share: int) -> range:
    """What ``size`` values from a place on have in common with the first ``share`` ones."""
    return range(min(max(start, 0), share), min(max(start + size, 0), share))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
