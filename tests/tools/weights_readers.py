"""Readers of a model's weights for ``fuzzing``: a whole file, and the pickle in its archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from torch import nn

from halftrack.training.files.weights import load_weights

_PICKLE = "data.pkl"


def weights_reader(model: nn.Module) -> Callable[[bytes, Path], None]:
    """Fills a model with a file; whatever the file holds, the model's weights stay finite."""

    def read(content: bytes, folder: Path) -> None:
        (folder / "a.pth").write_bytes(content)
        load_weights(model, folder / "a.pth")
        assert all(value.isfinite().all() for value in model.state_dict().values())

    return read


def pickle_reader(model: nn.Module, archive: bytes) -> Callable[[bytes, Path], None]:
    """Fills a model with a file whose archive is whole and whose pickle is damaged."""
    records = records_of(archive)

    def read(content: bytes, folder: Path) -> None:
        with zipfile.ZipFile(folder / "a.pth", "w") as file:
            for name, record in records.items():
                file.writestr(name, content if name.endswith(_PICKLE) else record)
        load_weights(model, folder / "a.pth")

    return read


def records_of(archive: bytes) -> dict[str, bytes]:
    """The files in the archive that ``torch.save`` wrote."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def pickle_of(archive: bytes) -> bytes:
    """The pickle in the archive."""
    (content,) = (record for name, record in records_of(archive).items() if name.endswith(_PICKLE))
    return content
