"""Two films and a configuration that makes small batches of the people in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.data.mot import ReIDDataConfig
from halftrack.synthetic import SyntheticVideo, write_synthetic


@pytest.fixture
def config() -> ReIDDataConfig:
    """Batches of three individuals, any with two crops."""
    return ReIDDataConfig(identities_per_batch=3, crops_per_identity=2, min_crops=2, cache_mb=1)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """The root of a benchmark of two sequences."""
    settings = SyntheticVideo(layout="mot", train_videos=2, val_videos=0, frames=10, size=(72, 120))
    write_synthetic(tmp_path / "films", settings)
    return tmp_path / "films"
