"""Published checkpoints are read without trust, as plain values; code in them never runs."""

from __future__ import annotations

import datetime
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import RunsCode, published, save_published
from torch import nn

from halftrack.errors import UserError
from halftrack.training import read_checkpoint

MODEL = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
ZIPPED = pytest.mark.parametrize("zipped", [True, False], ids=["archive", "older pickle"])


def plain(value: Any) -> bool:
    """Whether a value needs no class of another library to be pickled again."""
    if isinstance(value, dict):
        return type(value).__module__ in ("builtins", "collections") and all(
            plain(each) for each in value.values()
        )
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    kinds = (str, bytes, bool, int, float, type(None), datetime.datetime)
    return type(value) in (*kinds, torch.Tensor, np.ndarray)


@ZIPPED
def test_the_published_structure_is_read_as_plain_values(tmp_path: Path, zipped: bool) -> None:
    state = published(MODEL.state_dict())
    state["meta"]["args"] = Namespace(model="resnet50", lr=0.1)
    save_published(tmp_path / "a.pth", state, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "a.pth")
    assert plain(found)
    meta = found["meta"]
    assert meta["cfg"] == {"model": {"type": "SELSA", "depth": 50}, "steps": [2, 5]}
    assert type(meta["cfg"]["model"]) is dict
    assert meta["args"] == {"model": "resnet50", "lr": 0.1}
    assert meta["hook_msgs"] == {"best_score": 0.787, "best_epoch": 2}
    assert meta["anchors"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (meta["dtype"], meta["written"].year) == ("float32", 2021)
    assert list(found["state_dict"]) == list(MODEL.state_dict())
    assert found["state_dict"]._metadata == {"": {"version": 1}}
    assert found["optimizer"]["state"][3]["momentum_buffer"].shape == (4,)


@ZIPPED
@pytest.mark.parametrize("place", ["state_dict", "meta", "array", "config", "optimizer"])
def test_code_anywhere_in_a_checkpoint_is_refused_and_has_not_run(
    tmp_path: Path, zipped: bool, place: str
) -> None:
    state, evil = published(MODEL.state_dict()), RunsCode(tmp_path / "ran")
    if place in ("array", "config"):
        hidden = np.array([evil], dtype=object) if place == "array" else {"a": [evil]}
        state["meta"]["hidden"] = hidden
    else:
        state[place]["hidden"] = evil
    save_published(tmp_path / "a.pth", state, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        UserError, match=r"a\.pth cannot be read safely: .*\((GLOBAL|it holds an array)"
    ):
        read_checkpoint(tmp_path / "a.pth")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.pth"]


@ZIPPED
def test_a_tensor_that_claims_ten_gigabytes_is_refused(tmp_path: Path, zipped: bool) -> None:
    path, number = tmp_path / "a.pth", 12_345
    torch.save({"a": torch.ones(number)}, path, _use_new_zipfile_serialization=zipped)
    short, claimed = (
        b"M" + number.to_bytes(2, "little"),
        b"\x8a\x08" + (10 << 28).to_bytes(8, "little"),
    )
    if zipped:
        with zipfile.ZipFile(path) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in records.items():
                archive.writestr(name, content.replace(short, claimed))
    else:
        path.write_bytes(path.read_bytes().replace(short, claimed))
    with pytest.raises(UserError, match=r"a\.pth is not a readable checkpoint"):
        read_checkpoint(path)


def test_what_is_cut_short_is_refused_at_every_length(tmp_path: Path) -> None:
    save_published(tmp_path / "whole.pth", published(MODEL.state_dict()))
    whole = (tmp_path / "whole.pth").read_bytes()
    for share in range(1, 20):
        (tmp_path / "a.pth").write_bytes(whole[: len(whole) * share // 20])
        with pytest.raises(UserError, match=r"a\.pth"):
            read_checkpoint(tmp_path / "a.pth")
