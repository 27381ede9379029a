"""Which modules must stay in fp32: the smallest set of islands with which a rehearsal is clean.

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
    """The fp32 islands of a model that a rehearsal needs, none of which can be spared."""

    keep_fp32: Paths | None
    """Paths as ``Precision.keep_fp32`` takes them, in the model's order, none within another; None
    where even with every submodule in fp32 the rehearsal is not clean."""
    rehearsals: int
    """How many it took to know."""

    def __str__(self) -> str:
        if self.keep_fp32 is None:
            return (
                "no fp32 islands help: with every submodule in fp32 it is not clean either; look "
                "at the data, the weights, and what the model's own forward computes"
            )
        return f"precision.keep_fp32={self.keep_fp32!r}"


def find_islands(model: nn.Module, is_clean: Callable[[Paths], bool]) -> Islands:
    """The smallest fp32 islands that make a rehearsal clean: without any one of them it is not.

    An island is what ``Precision.keep_in_fp32`` makes of a path: everything that the module and
    those inside it compute. So a module is opened, its children standing for it, wherever their
    being fp32 is enough, and kept whole where what its own methods compute is at fault (products of
    attention, sums). What an island returns stays fp32: the next layer casts it, and where that
    overflows it is an island too. A norm that is folded into its convolution computes nothing by
    itself; the convolution is named. The outermost module cannot be kept: what it computes itself
    needs ``fp32_island``.

    Among the 70 layers of a ResNet-50 detector one island takes about 20 rehearsals, each further
    one about 10. More islands are taken to be no worse than fewer; where that does not hold, the
    result is still clean and each island needed, but a smaller set may exist.

    Args:
        model: whose modules are searched; it is not run.
        is_clean: the judge. It rehearses a copy of the model that keeps these paths in fp32, and
            says whether nothing went wrong. The same paths must give the same answer, which is
            asked for once.
    """
    search = _Search(model, is_clean)
    found = search.islands()
    return Islands(keep_fp32=found, rehearsals=search.rehearsals)


class _Search:
    """The module tree and what the judge said so far."""

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
        """Those of the parts without which ``rest`` is not clean; with all of them it is.

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
        """The islands, less those that can be spared after all."""
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
