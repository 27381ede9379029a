"""Search for the modules that must stay in fp32: the smallest set that makes a rehearsal clean.

The module tree is searched from above, level by level (hierarchical delta debugging, Misherghi and
Su 2006), and halved on each level (QuickXplain, Junker 2004), with the rehearsal as the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

__all__ = ["Islands", "find_islands"]

Paths = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Islands:
    """Modules to keep in fp32, none of which can be left out; the result of ``find_islands``."""

    keep_fp32: Paths | None
    """Paths for ``Precision.keep_fp32``, in the model's order, none within another. None if the
    rehearsal is not clean even with every submodule in fp32."""
    rehearsals: int
    """Number of rehearsals that the search took."""

    def __str__(self) -> str:
        if self.keep_fp32 is None:
            return (
                "no fp32 islands help: with every submodule in fp32 it is not clean either; look "
                "at the data, the weights, and what the model's own forward computes"
            )
        return f"precision.keep_fp32={self.keep_fp32!r}"


def find_islands(model: nn.Module, is_clean: Callable[[Paths], bool]) -> Islands:
    """Find the fewest modules to keep in fp32 for a rehearsal to be clean.

    An island is everything that a module and those inside it compute, as in
    ``Precision.keep_in_fp32``. A module is replaced by some of its children where that is enough,
    and kept whole where its own methods are at fault (products of attention, sums). An island
    returns fp32: the next layer casts it, and becomes an island too if that overflows. A norm that
    is folded into its convolution computes nothing by itself; the convolution is named. The
    outermost module cannot be kept: use ``fp32_island`` for what it computes itself::

        def is_clean(keep_fp32):
            copied, precision = copy.deepcopy(model), Precision("fp16", 1024.0, keep_fp32)
            precision.keep_in_fp32(copied)
            with precision.autocast("cpu"):
                return bool(copied(batch).isfinite())

        print(find_islands(model, is_clean))  # precision.keep_fp32=('trunk',)

    Among the 70 layers of a ResNet-50 detector one island takes about 20 rehearsals, each further
    one about 10. The search assumes that more islands are never worse than fewer; where that does
    not hold, the result is still clean and each island needed, but a smaller set may exist.

    Args:
        model: the model to search; it is not run.
        is_clean: rehearses a copy of the model with these paths kept in fp32 and returns whether
            nothing went wrong. The same paths must always give the same answer; it is called once
            for each set of paths.
    """
    search = _Search(model, is_clean)
    found = search.islands()
    return Islands(keep_fp32=found, rehearsals=search.rehearsals)


class _Search:
    """A search in progress: the module tree and the rehearsals so far."""

    def __init__(self, model: nn.Module, is_clean: Callable[[Paths], bool]) -> None:
        paths = [path for path, _ in model.named_modules()]
        self._place = {path: place for place, path in enumerate(paths)}
        # By name, not by named_children: a shared module has one path, where it is met first.
        self._parts: dict[str, Paths] = dict.fromkeys(paths, ())
        for path in paths[1:]:
            self._parts[path.rpartition(".")[0]] += (path,)
        self._judge = is_clean
        self._said: dict[Paths, bool] = {}

    @property
    def rehearsals(self) -> int:
        return len(self._said)

    def islands(self) -> Paths | None:
        if self._is_clean(()):
            return ()
        if not self._is_clean(self._parts[""]):
            return None
        unopened, whole = self._needed((), self._parts[""]), tuple[str, ...]()
        while unopened:
            path, *others = unopened
            rest, parts = (*whole, *others), self._parts[path]
            if parts and self._is_clean((*rest, *parts)):
                unopened = (*self._needed(rest, parts), *others)
            else:
                unopened, whole = tuple(others), (*whole, path)
        return self._in_order(self._irreducible(whole))

    def _needed(self, rest: Paths, parts: Paths, *, asked: bool = False) -> Paths:
        """The parts that ``rest`` needs to be clean; with all of them it is.

        ``asked``: whether ``rest`` may be clean by now.
        """
        if asked and self._is_clean(rest):
            return ()
        if len(parts) <= 1:
            return parts
        first, second = parts[: len(parts) // 2], parts[len(parts) // 2 :]
        of_second = self._needed((*rest, *first), second, asked=True)
        of_first = self._needed((*rest, *of_second), first, asked=bool(of_second))
        return (*of_first, *of_second)

    def _irreducible(self, islands: Paths) -> Paths:
        """The islands without those that can be left out after all."""
        for spared in islands:
            rest = tuple(path for path in islands if path != spared)
            if self._is_clean(rest):
                return self._irreducible(rest)
        return islands

    def _is_clean(self, islands: Iterable[str]) -> bool:
        key = self._in_order(islands)
        if key not in self._said:
            self._said[key] = self._judge(key)
        return self._said[key]

    def _in_order(self, islands: Iterable[str]) -> Paths:
        return tuple(sorted(islands, key=self._place.__getitem__))
