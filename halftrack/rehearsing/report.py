"""Report of a rehearsal: it answers in text, saves its page, searches islands when asked."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import ClassVar

from halftrack.errors import UserError
from halftrack.precision import Islands
from halftrack.rehearsing.answers import all_numbers, answers, must_change, verdict
from halftrack.rehearsing.findings import Findings
from halftrack.rehearsing.otherwise import told_otherwise
from halftrack.rehearsing.page import save_page

__all__ = ["Report"]

_WIDTH = 100
Search = Callable[["Report"], tuple[Islands, int | None]]


@dataclass(frozen=True, kw_only=True)
class Report(Findings):
    """Findings of ``halftrack.rehearse`` and ``halftrack.watching``.

    ``print(report)`` answers what overflows, why steps were skipped, what must stay in fp32 and how
    much memory a step takes. ``advice`` is on the loss scale, ``culprits`` are the causes of
    skipped steps, ``memory`` has the peak of a step in each precision, ``json()`` is all of it.
    """

    untold: ClassVar[tuple[str, ...]] = (*Findings.untold, "error", "search")

    error: Exception | None = field(default=None, repr=False)
    """The exception that the loss ended with after something was not finite; ``culprits`` says
    what that was."""
    search: Search | None = field(default=None, repr=False)
    """Searches fp32 islands, for ``islands``."""

    @property
    def islands_hint(self) -> str:
        """The way to search for fp32 islands, which asks for a step that can be run again."""
        if self.search is not None:
            return super().islands_hint
        return "islands() after halftrack.rehearse(step, batches, ...) finds the smallest set"

    def islands(self) -> Islands:
        """The smallest set of modules to keep in fp32; rehearses two steps many times.

        The model must be there and takes part; it is left as it was. The page and the text tell of
        it from then on.

        Raises:
            UserError: for what was not rehearsed by ``halftrack.rehearse``.
        """
        if self.fp32_islands is None:
            if self.search is None:
                raise UserError("islands can be searched only after halftrack.rehearse(...)")
            found, size = self.search(self)
            # The search belongs to the report, which is a value in all else.
            object.__setattr__(self, "fp32_islands", found)
            object.__setattr__(self, "islands_bytes", size)
        assert self.fp32_islands is not None
        return self.fp32_islands

    @property
    def must_change(self) -> tuple[str, ...]:
        """Everything without which training would fail or lose gradients; empty if it survived."""
        return must_change(self)

    def json(self) -> str:
        """Everything in numbers as JSON text, as the file beside the page has it."""
        return json.dumps(all_numbers(self), indent=1, allow_nan=False)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the HTML page, and beside it everything in numbers, as ``.json``.

        Args:
            path: of the page; it needs nothing but itself.
        """
        save_page(self, Path(path))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"Rehearsal of {self.name} in {self.precision.name}, {len(self.steps)} steps"
        yield from self.notes
        for answer in answers(self):
            yield f"\n{answer.question}"
            yield textwrap.fill(answer.words, _WIDTH)
        for line in told_otherwise(self.called):
            yield f"\n{textwrap.fill(line, _WIDTH)}"
        changes = self.must_change
        if not changes:
            yield f"\n{verdict(self)}"
        for change in changes:
            yield f"\nmust change: {change}"
