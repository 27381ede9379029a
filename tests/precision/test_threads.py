"""Rules of threads, workers and nesting: a rehearsal changes autocast for the whole process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from halftrack.precision import Precision
from halftrack.precision.rehearsal import is_rehearsing, rehearsal
from halftrack.precision.tensor_cores import observing

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
    seen: list[str] = []
    half = torch.full((1, 64), 1.0, dtype=torch.float16)

    def observer(op: Any, arguments: tuple[Any, ...], result: Tensor) -> None:
        seen.append(str(op))

    with rehearsal(), observing(observer):
        assert in_thread(lambda: half @ half.T) is None
        assert seen == []
        assert half @ half.T == 64
    assert seen == ["aten.mm.default"]


def test_a_region_of_another_thread_leaves_ours_as_it_is() -> None:
    inside, ended = threading.Event(), threading.Event()

    def other() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            inside.set()
            assert ended.wait(10)
            assert (X @ X).dtype == torch.bfloat16
        assert not torch.is_autocast_enabled("cuda")

    raised: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: raised.append(in_thread(other)))
    with FP16.autocast("cpu"):
        with torch.autocast("cuda", enabled=False):
            thread.start()
            assert inside.wait(10)
        assert (X @ X).dtype == torch.float16
        assert torch.get_autocast_dtype("cuda") == torch.float16
        ended.set()
        thread.join()
        assert (X @ X).dtype == torch.float16
    assert raised == [None]


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


def test_another_threads_autocast_has_cudas_lists_until_we_leave() -> None:
    kinds: list[torch.dtype] = []

    def infer() -> None:
        for device in ("cpu", "cuda"):
            with torch.autocast(device, torch.bfloat16):
                kinds.append(F.softplus(X @ X).dtype)  # CUDA lists softplus, a CPU does not
            assert (X @ X).dtype == torch.float32

    with FP16.autocast("cpu"):
        assert in_thread(infer) is None
        assert (X @ X).dtype == torch.float16
    assert kinds == [torch.float32] * 2
    with torch.autocast("cpu", torch.bfloat16):
        assert F.softplus(X @ X).dtype == torch.bfloat16
