"""What the golden tests of all models share: weights, and what counts as equal."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of a file."""
    with np.load(GOLDEN / name) as file:
        return dict(file)


def recipe() -> Any:
    """The recorded module that makes weights and images."""
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "golden_recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(entries: Any, name: str) -> dict[str, torch.Tensor]:
    """The state dict of seed 1 of a model."""
    values = recipe().fill_state_dict(entries, 1, name)
    return {key: torch.from_numpy(np.asarray(value)) for key, value in values.items()}


def keys_and_shapes(model: nn.Module) -> list[list[Any]]:
    """As ``*_state_dict.json`` has them, without the dtype."""
    return [[key, list(value.shape)] for key, value in model.state_dict().items()]


def assert_close(actual: torch.Tensor, expected: np.ndarray, *, share: float = 1e-4) -> None:
    """Within ``share`` of the largest magnitude of what is expected."""
    assert actual.shape == expected.shape
    assert np.abs(actual.detach().numpy() - expected).max() <= share * np.abs(expected).max()


def same_proposals(actual: torch.Tensor, expected: np.ndarray, *, pixels: float = 4e-3) -> None:
    """Boxes within ``pixels`` and scores within 1e-4, as a set: near ties may swap rows."""
    assert actual.shape == expected.shape
    tolerance = np.array([pixels] * 4 + [1e-4])
    apart = np.abs(actual.numpy()[:, None] - expected[None]) / tolerance
    same = apart.max(axis=2) < 1
    assert same.any(axis=0).all()
    assert same.any(axis=1).all()


def assert_gradients(model: nn.Module, file: str, *, noisy: str = "", noise: float = 0.0) -> None:
    """Every gradient norm within 1e-3, and the same parameters without one.

    Those whose names match ``noisy`` may differ by ``noise``, that of the recorded values.
    """
    expected = json.loads((GOLDEN / file).read_text())
    norms = expected["per_param"]
    largest = max(norm for norm in norms.values() if norm is not None)
    assert set(norms) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (norms[name] is None), name
        if parameter.grad is not None:
            # fp64: torch's fp32 norm of 25 million elements is itself off by more than 1e-3.
            norm = parameter.grad.double().norm().item()
            share = noise if noisy and re.fullmatch(noisy, name) else 1e-3
            assert norm == pytest.approx(norms[name], rel=share, abs=1e-6 * largest), name
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == expected["requires_grad_false"]
