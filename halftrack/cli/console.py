"""Lines and progress bars on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from halftrack.cli.processes import own_rank

__all__ = ["console", "progress_bar", "tell"]

console = Console(quiet=bool(own_rank()))


def tell(line: str) -> None:
    """Prints a line as it is: a path may contain what rich takes for markup."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(
    what: str, total: int | None = None
) -> Iterator[Callable[[int, int | None], None]]:
    """Yields the function that is told (done, total) and shows a bar from then on.

    What ends before the first progress, with an error of the user's above all, shows none.
    """
    from rich.progress import Progress

    progress = Progress(console=console)
    task = progress.add_task(what, total=total)

    def told(done: int, total: int | None) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield told
    finally:
        if progress.live.is_started:
            progress.stop()
