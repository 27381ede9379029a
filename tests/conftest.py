"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import torch

from halftrack.recipes import choose_device


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No index is written into the user's cache, not even by a fixture of a whole module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def autograd_can_be_forked() -> None:
    """Tensors without values make torch believe in a GPU: a first backward pass after them starts
    a thread for it, and forked processes could take none."""
    torch.zeros(1, device="cpu", requires_grad=True).sum().backward()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and their processes inherit it.

    Tests that send it to themselves need Python's own answer.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=dict.fromkeys(("cpu", choose_device(None).type)))
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and the accelerator on a machine that has one."""
    return torch.device(request.param)
