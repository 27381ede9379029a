from __future__ import annotations

import pytest
import torch


@pytest.fixture(params=["first_n", "seeded"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sampler of a recorded training step: the first candidates, or torch's own draws."""
    if request.param == "first_n":
        monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n))
    return request.param
