"""Data that MMTracking's converters were run on, with what they wrote."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[1] / "golden/fake_data.tar.gz"


@pytest.fixture
def fake_data(tmp_path: Path) -> Path:
    """A copy of the data; what was converted of them is below ``converted``."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "fake_data"
