"""The readers of other libraries' files, set up to be fuzzed: see ``fuzzing``."""

from __future__ import annotations

import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzzing import Reader, mutated_bytes, mutated_tree
from published import published, save_published
from safetensors.torch import save
from torch import nn
from weights_readers import pickle_of, pickle_reader, weights_reader

from halftrack.interop.checkpoints.publish import publish
from halftrack.interop.checkpoints.resume import read_continuation
from halftrack.pickles import read_arrays

_MODEL = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
_STATE = published(_MODEL.state_dict())
_ARRAYS = {
    "a.jpg": [np.array([[1, 2, 3, 4, 0.5]], np.float32), np.zeros((0, 5), np.float32)],
    "columns first": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "numbers": (np.float64(0.25), np.int64(3), np.bool_(True), np.str_("né"), 1.5, None),
    "bytes": b"\xff\0",
}
_TOKENS = [
    b"cos\nsystem\n", b"\x93", b"R", b"b", b"\x81", b"\x85", b"\x86", b"}", b"]", b"a", b"u", b"s",
    b"U\x03O8\0", b"|O", b"O8", b"h\0", b"\x96\xff\xff\xff\xff\xff\0\0\0", b"r\xff\xff\xff\xff",
    b"\x8e\xff\xff\xff\xff\xff\0\0\0", b"M\xff\xff", b"J\xff\xff\xff\x7f", b"N", b".", b"0",
    b"cmmcv.utils.config\nConfigDict\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n",
]  # fmt: skip


def _published(**how: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return save_published(Path(folder) / "a.pth", _STATE, **how).read_bytes()


def _bare(**how: Any) -> bytes:
    """Small, so that more of the mutations hit the pickle than the tensors."""
    stream = io.BytesIO()
    torch.save(_MODEL.state_dict(), stream, **how)
    return stream.getvalue()


read_published, read_pickle = weights_reader(_MODEL), pickle_reader(_MODEL, _published())


def _plain_state() -> Any:
    """A tree to mutate: without what can only be read where mmcv is."""
    names = ("cfg", "hook_msgs", "anchors", "dtype", "written")
    meta = {name: value for name, value in _STATE["meta"].items() if name not in names}
    return _STATE | {"meta": meta, "state_dict": dict(_STATE["state_dict"])}


def read_pickle_of_arrays(content: bytes, folder: Path) -> None:
    (folder / "a.pkl").write_bytes(content)
    read_arrays(folder / "a.pkl")


def read_state(state: Any, folder: Path) -> None:
    torch.save(state, folder / "a.pth")
    read_continuation(folder / "a.pth")


def publish_state(state: Any, folder: Path) -> None:
    torch.save(state, folder / "b.pth")
    publish(folder / "b.pth").unlink()


READERS = [
    Reader(
        "published checkpoint",
        mutated_bytes(
            [_published(), _published(_use_new_zipfile_serialization=False), _bare()], _TOKENS
        ),
        read_published,
    ),
    Reader(
        "pickle of a published one", mutated_bytes([pickle_of(_published())], _TOKENS), read_pickle
    ),
    Reader(
        "older pickle of a checkpoint",
        mutated_bytes([_bare(_use_new_zipfile_serialization=False)], _TOKENS),
        read_published,
    ),
    Reader(
        "safetensors",
        mutated_bytes([save(_MODEL.state_dict(), {"classes": "a"})], [b'{"', b"F32", b"9" * 20]),
        read_published,
    ),
    Reader(
        "pickle of arrays",
        mutated_bytes([pickle.dumps(_ARRAYS, protocol) for protocol in (2, 4, 5)], _TOKENS),
        read_pickle_of_arrays,
    ),
    Reader("training checkpoint", mutated_tree(_plain_state()), read_state),
    Reader("checkpoint to publish", mutated_tree(_plain_state()), publish_state),
]
