"""Lines and progress bars on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["console", "progress_bar", "tell"]

console = Console()


def tell(line: str) -> None:
    """Prints a line as it is: a path may contain what rich takes for markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(
    what: str, total: int | None = None
) -> Iterator[Callable[[int, int | None], None]]:
    """Shows a bar while the block runs; yields the function that is told (done, total)."""
    from rich.progress import Progress

    with Progress(console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, total: progress.update(task, completed=done, total=total)
