"""A model that several processes divide among them: its parts are whole one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from halftrack.errors import UserError
from halftrack.training.batches import Batch
from halftrack.training.processes.parts import Part, momentum_held
from halftrack.training.ranks import Ranks

__all__ = ["DividedModel", "fullest"]

_ELSE = "take training.shard='optimizer'"


@runtime_checkable
class _InOrder(Protocol):
    """A module that knows its parts better than by its own modules, as a backbone its stages."""

    def parts_in_order(self) -> list[list[nn.Module]]:
        """The modules of each part; the parts run one behind the other, once in a pass."""


class _Place(NamedTuple):
    """The layout of a tensor in a part's weights."""

    part: int
    shape: torch.Size
    stride: tuple[int, ...]
    start: int


class DividedModel(nn.Module):
    """A model whose parts become whole as a pass comes to them, forwards and then back again.

    In every pass all processes make all parts whole in the same order, those too for which a batch
    has no use: none waits for another. On the way back a part's gradients are summed when the pass
    leaves it.

    Args:
        model: with its weights, on its device. Its parts are its modules, or of such a module what
            its ``parts_in_order`` says; they run one behind the other.
        ranks: the processes.
        wire: type that gradients travel in; None for their own.

    Raises:
        UserError: if a parameter is in no part or in two, or a part's are of several dtypes.
    """

    def __init__(self, model: nn.Module, ranks: Ranks, wire: torch.dtype | None) -> None:
        super().__init__()
        self.model, self._wire = model, wire
        self.touched: set[nn.Parameter] = set()
        """Parameters that got a gradient in this process since they were last asked for."""
        self._whole = False
        # The part that is whole in a pass, and whether it is on its way back.
        self._at, self._returns = -1, False
        self._entries: list[RemovableHandle] = []
        self._arrivals: list[RemovableHandle] = []
        self.parts: list[Part] = []
        for number, (path, modules) in enumerate(_parts(model).items()):
            self.parts.append(Part(path, _parameters(modules), ranks))
            for each in _first_users(model, modules):
                # A plain function: a copy of the model shares it and copies nothing else.
                entered = each.register_forward_pre_hook(lambda *_, n=number: self._meet(n))
                self._entries.append(entered)

    def begin(self) -> None:
        """Find out anew which parameters train."""
        for handle in self._arrivals:
            handle.remove()
        self._arrivals.clear()
        for number, part in enumerate(self.parts):
            for parameter, piece in zip(part.parameters, part.pieces, strict=True):
                piece.requires_grad_(parameter.requires_grad)
                if parameter.requires_grad:
                    self._arrivals.append(self._told_of(parameter, number))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The model's losses. Their backward pass must follow, and then ``finish``."""
        self._reach(0)  # whose memory layout a model may look at before it calls it
        with torch.autograd.graph.saved_tensors_hooks(self._noted, self._found):
            losses: dict[str, Tensor] = self.model(batch)
        self._turn()
        return losses

    def finish(self) -> None:
        """End a pass, after its backward pass."""
        self._return_to(0)
        self._leave()
        self._at, self._returns = -1, False

    def idle(self) -> None:
        """Take part in a pass of the others for which this process has no batch."""
        self._turn()
        self.finish()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A context in which all parts are whole; what they are at its end is held, if none failed.

        All processes must enter it.
        """
        if self._whole:
            yield
            return
        for part in self.parts:
            part.gather()
        self._whole = True
        try:
            yield
            for part in self.parts:
                part.keep()
        finally:
            self._whole = False
            for part in self.parts:
                part.release()

    def join(self) -> None:
        """Make the model whole for good. All processes must call it."""
        for handle in (*self._entries, *self._arrivals):
            handle.remove()
        for part in self.parts:
            values = part.joined(part.held)
            for parameter, value in zip(part.parameters, values, strict=True):
                parameter.data = value.clone()

    def _told_of(self, parameter: nn.Parameter, number: int) -> RemovableHandle:
        """Make room for a gradient just before it comes."""

        def comes(gradient: Tensor | None) -> None:
            if gradient is not None and not self._whole:
                self._meet(number)
                self.parts[number].collect()
                self.touched.add(parameter)

        return parameter.register_hook(comes)  # type: ignore[no-any-return]

    def _meet(self, number: int) -> None:
        """Make a part whole that is about to be used, and give up the one before it."""
        if self._whole:
            return
        assert self._at >= 0, (
            "the weights are divided: a pass goes through DividedModel, or whole()"
        )
        if number != self._at and (number > self._at) == self._returns:
            here, there = self.parts[number].name, self.parts[self._at].name
            way = "backward" if self._returns else "forward"
            raise UserError(
                f"training.shard='full': the {way} pass comes to {here} again after {there}; it is "
                f"for models whose modules run one behind the other: {_ELSE}"
            )
        (self._return_to if self._returns else self._reach)(number)

    def _reach(self, number: int) -> None:
        while self._at < number:
            if self._at >= 0:
                self.parts[self._at].release()
            self._at += 1
            self.parts[self._at].gather()

    def _turn(self) -> None:
        self._reach(len(self.parts) - 1)
        self._returns = True

    def _return_to(self, number: int) -> None:
        while self._at > number:
            self._leave()
            self._at -= 1
            if any(part.trains for part in self.parts[: self._at + 1]):
                self.parts[self._at].gather()

    def _leave(self) -> None:
        part = self.parts[self._at]
        part.release()
        if part.trains:
            part.share_gradients(self._wire)

    def _noted(self, tensor: Tensor) -> Tensor | _Place:
        """What a graph keeps for its backward pass: of a part's weights only their place."""
        if not self.parts[self._at].has(tensor):
            return tensor
        return _Place(self._at, tensor.shape, tensor.stride(), int(tensor.storage_offset()))

    def _found(self, noted: Tensor | _Place) -> Tensor:
        if isinstance(noted, Tensor):
            return noted
        self._meet(noted.part)
        return self.parts[noted.part].view(noted.shape, noted.stride, noted.start)


def fullest(model: nn.Module, processes: int) -> int:
    """The rank that holds the most momentum of a model that so many processes divide."""
    of_parts = [momentum_held(_parameters(p), processes) for p in _parts(model).values()]
    held = [sum(of_rank) for of_rank in zip(*of_parts, strict=True)]
    return held.index(max(held))


def _parts(model: nn.Module) -> dict[str, list[nn.Module]]:
    """By path the modules of each part, in order."""
    paths = {module: path for path, module in model.named_modules()}
    parts = [part for part in _in_order(model) if _parameters(part)]
    owners: dict[nn.Parameter, str] = {}
    for part in parts:
        path = paths[part[0]]
        for parameter in _parameters(part):
            if owners.setdefault(parameter, path) != path:
                raise UserError(
                    f"training.shard='full': {owners[parameter]} and {path} share a parameter; "
                    f"expected each in one part: {_ELSE}"
                )
        names = [n for m in part for n in m.named_parameters(remove_duplicate=False)]
        if len(names) > len(_parameters(part)):
            raise UserError(
                f"training.shard='full': {path} has a parameter under several names; expected one "
                f"name for each: {_ELSE}"
            )
        if len({parameter.dtype for parameter in _parameters(part)}) > 1:
            raise UserError(
                f"training.shard='full': {path} has parameters of several dtypes; expected one: "
                f"{_ELSE}"
            )
    for name, parameter in model.named_parameters():
        if parameter not in owners:
            raise UserError(
                f"training.shard='full': {name} is a parameter of no part of the model; expected "
                f"each in a module of a part: {_ELSE}"
            )
    return {paths[part[0]]: part for part in parts}


def _first_users(model: nn.Module, part: Sequence[nn.Module]) -> list[nn.Module]:
    """Modules whose call may be the first to use a part.

    Those with parameters of it, and who begins with it by its own word: what it does with a
    convolution and a frozen norm is no call of either.
    """
    own = [each for module in part for each in module.modules() if _parameters([each])]
    owners = [each for each in model.modules() if isinstance(each, _InOrder)]
    firsts = {each: next(filter(_parameters, each.parts_in_order()), []) for each in owners}
    return own + [owner for owner in owners if owner not in own and firsts[owner] == list(part)]


def _in_order(module: nn.Module) -> list[list[nn.Module]]:
    """Parts that run one behind the other: as the module says, or else its own modules'."""
    if isinstance(module, _InOrder):
        return module.parts_in_order()
    children = [child for child in module.children() if _parameters([child])]
    alone = len(children) == 1 and next(children[0].parameters(recurse=False), None) is None
    if alone:
        return _in_order(children[0])
    return [
        part
        for child in children
        for part in (child.parts_in_order() if isinstance(child, _InOrder) else [[child]])
    ]


def _parameters(part: Sequence[nn.Module]) -> list[nn.Parameter]:
    return list(dict.fromkeys(each for module in part for each in module.parameters()))
