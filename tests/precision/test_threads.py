"""Rules of threads, workers and nesting: a rehearsal changes autocast for the whole process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from halftrack.precision import Precision
from halftrack.precision.rehearsal import is_rehearsing, rehearsal

FP16, BF16 = Precision("fp16", 1.0), Precision("bf16")
X = torch.ones(2, 2)


def in_thread(work: Callable[[], object]) -> BaseException | None:
    """Run in another thread; returns what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def rehearse() -> None:
    with FP16.autocast("cpu"):
        assert is_rehearsing()
        assert F.softplus(X.half()).dtype == torch.float32  # a CPU's own autocast keeps it half


def test_one_thread_rehearses_at_a_time() -> None:
    with rehearsal():
        refused = in_thread(rehearse)
        assert isinstance(refused, RuntimeError)
        assert "another thread of this process rehearses half precision" in str(refused)
        rehearse()  # and the first one goes on
    assert in_thread(rehearse) is None
    assert not is_rehearsing()


def test_an_exception_inside_ends_it_for_all_threads() -> None:
    with pytest.raises(KeyError), rehearsal():
        raise KeyError
    assert in_thread(rehearse) is None


def test_nested_precisions_count_once_and_the_inner_one_decides_the_dtype() -> None:
    with FP16.arithmetic("cpu"), FP16.autocast("cpu"):
        assert (X @ X).dtype == torch.float16
        with BF16.autocast("cpu"):
            assert (X @ X).dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert (X @ X).dtype == torch.float32
            assert is_rehearsing()
        assert (X @ X).dtype == torch.float16
    assert not is_rehearsing()


def test_another_threads_products_are_its_own() -> None:
    made: list[Tensor] = []
    half = torch.full((1, 4096), 1.0, dtype=torch.float16)

    def multiply() -> None:
        made.append(half @ half.T)

    with rehearsal():
        assert in_thread(multiply) is None
    assert made[0].dtype == torch.float16


class Asked(Dataset[bool]):
    """A worker process says whether it rehearses."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> bool:
        return is_rehearsing()


def test_workers_forked_inside_inherit_it() -> None:
    with rehearsal():
        (inside,) = DataLoader(Asked(), num_workers=1, multiprocessing_context="fork")
    (outside,) = DataLoader(Asked(), num_workers=1, multiprocessing_context="fork")
    assert (bool(inside), bool(outside)) == (True, False)
