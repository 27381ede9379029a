"""Items read ahead by threads, in order, and test frames gathered into passes of a model.

Bad items end the reading or are skipped and listed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Protocol, TypeVar

from halftrack.data.problems import DataError, OnBadSample, Problem, SkipLedger

__all__ = ["ahead_of", "passes", "read_ahead"]

ItemT = TypeVar("ItemT")
Key = TypeVar("Key")
Item = TypeVar("Item")


class _Sized(Protocol):
    @property
    def size(self) -> tuple[int, int]: ...


SizedT = TypeVar("SizedT", bound=_Sized)


def read_ahead(
    load: Callable[[Key], Item],
    keys: Iterable[Key],
    *,
    threads: int,
    on_bad_sample: OnBadSample,
    skipped: SkipLedger,
) -> Iterator[Item]:
    """Yields what ``load`` gives for each key, in the keys' order.

    Args:
        load: called in threads; decoding and resizing release the interpreter's lock.
        keys: what to load.
        threads: how many; 0 loads on demand.
        on_bad_sample: ``error`` stops at a ``DataError``, ``skip`` leaves the item out.
        skipped: told what was left out.

    Raises:
        DataError: if an item cannot be used, unless bad ones are skipped.
    """
    # Closed at once, so that threads end with the pass, not when its frames are collected.
    with closing(_results(load, keys, threads)) as results:
        for result in results:
            try:
                item = result()
            except DataError as error:
                if on_bad_sample == "error":
                    raise
                skipped.add(Problem(error.file, error.reason))
            else:
                yield item


def _results(
    load: Callable[[Key], Item], keys: Iterable[Key], threads: int
) -> Generator[Callable[[], Item], None, None]:
    if threads == 0:
        for key in keys:
            yield partial(load, key)
        return
    waiting: deque[Future[Item]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="frames")
    try:
        for key in keys:
            waiting.append(pool.submit(load, key))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result
        while waiting:
            yield waiting.popleft().result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def ahead_of(items: Generator[ItemT], count: int) -> Iterator[ItemT]:
    """The same items; the next ``count`` are made in a thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:
        waiting = deque(pool.submit(next, items, None) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not None:
                yield item
                del item  # else it would outlive the wait for the next one
                waiting.append(pool.submit(next, items, None))
        finally:
            for future in waiting:
                future.cancel()
            pool.submit(items.close).result()  # in the thread: it may be inside an item just now


def passes(frames: Iterable[SizedT], most: int) -> Iterator[list[SizedT]]:
    """Frames of a video in their order, up to ``most`` of one size at a time.

    A pass ends where the size changes: padded to another one, an image has anchors that it has not
    alone, and its detections would depend on the other images. Frames before one that cannot be
    read are a pass too.

    Raises:
        DataError: at a frame that cannot be read.
    """
    waiting: list[SizedT] = []
    try:
        for frame in frames:
            if waiting and frame.size != waiting[0].size:
                yield waiting
                waiting = []
            waiting.append(frame)
            if len(waiting) == most:
                yield waiting
                waiting = []
    except DataError:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting
