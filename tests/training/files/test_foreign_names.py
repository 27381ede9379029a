"""Backbones of other libraries go where they belong; what does not fit stands in a table."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from halftrack.errors import UserError
from halftrack.layers import ResNet, ResNetConfig
from halftrack.training import load_weights
from halftrack.training.files.foreign_names import our_names

Weights = Mapping[str, Tensor]
NARROW = ResNetConfig(depth=50, base_channels=8)


@pytest.fixture(scope="module")
def theirs() -> Weights:
    """A narrow ResNet-50 under the names of torchvision's."""
    torch.manual_seed(0)
    classifier = {"fc.weight": torch.ones(10, 256), "fc.bias": torch.ones(10)}
    return {**ResNet(NARROW).state_dict(), **classifier}


def of_detectron(name: str) -> str:
    """The name as detectron2's converter of torchvision's files writes it."""
    name = re.sub(r"^fc\.", "stem.fc.", name)
    name = re.sub(r"^conv1\.", "stem.conv1.", name)
    name = re.sub(r"^bn1\.", "stem.conv1.norm.", name)
    name = re.sub(r"^layer(\d)", lambda stage: f"res{int(stage[1]) + 1}", name)
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return re.sub(r"\.bn(\d)\.", r".conv\1.norm.", name)


def detectron(path: Path, weights: Weights) -> None:
    arrays = {of_detectron(name): value.numpy() for name, value in weights.items()}
    path.write_bytes(
        pickle.dumps({"model": arrays, "__author__": "a", "matching_heuristics": True})
    )


def mmcls(path: Path, weights: Weights) -> None:
    named = {f"backbone.{name}": value for name, value in weights.items() if "fc" not in name}
    named |= {f"head.{name}": value for name, value in weights.items() if "fc" in name}
    torch.save({"meta": {"epoch": 100}, "state_dict": named}, path)


def wrapped(path: Path, weights: Weights) -> None:
    torch.save({"model": {f"module.{name}": value for name, value in weights.items()}}, path)


def timm(path: Path, weights: Weights) -> None:
    torch.save(dict(weights), path)


@pytest.mark.parametrize("write", [detectron, mmcls, wrapped, timm], ids=lambda each: each.__name__)
def test_a_resnet_of_another_library_fills_every_backbone(
    tmp_path: Path, theirs: Weights, write: Callable[[Path, Weights], None]
) -> None:
    write(tmp_path / "r50", theirs)
    backbone = ResNet(NARROW)
    model = nn.ModuleDict({"detector": nn.ModuleDict({"backbone": backbone})})
    report = load_weights(model, tmp_path / "r50")
    assert report.missing == report.mismatched == ()
    assert len(report.unexpected) == 2  # the classifier
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_a_resnet_of_caffe2_is_refused_with_the_reason() -> None:
    weights = {"conv1_w": torch.zeros(1), "res2_0_branch2a_w": torch.zeros(1)}
    with pytest.raises(UserError, match=r"R-50\.pkl is a ResNet of Caffe2.*torchvision/R-50\.pkl"):
        our_names(Path("R-50.pkl"), weights)


def test_other_names_stay() -> None:
    weights = {"module.a": torch.zeros(1), "res2.x": torch.zeros(1)}
    assert our_names(Path("a"), weights) == weights


def test_an_array_of_a_pickle_fills_a_model_in_either_byte_order(tmp_path: Path) -> None:
    values = {"weight": np.ones((2, 3), ">f4"), "bias": np.zeros(2, "<f8")}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": values}))
    model = nn.Linear(3, 2)
    load_weights(model, tmp_path / "a.pkl")
    assert model.weight.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_keys_that_did_not_load_stand_in_a_table(tmp_path: Path) -> None:
    model = nn.ModuleDict({"backbone": nn.Linear(3, 4), "head": nn.Linear(4, 2)})
    weights = {"backbone.weight": torch.ones(4, 3), "backbone.bias": torch.ones(5)}
    torch.save(weights | {"neck.a": torch.ones(1), "neck.b": torch.ones(1)}, tmp_path / "a.pth")
    assert load_weights(model, tmp_path / "a.pth").table() == [
        "  missing     head           weight, bias",
        "  unexpected  neck           a, b",
        "  mis-shaped  backbone.bias  (5,) for (4,)",
    ]
    assert load_weights(model, save(tmp_path / "b.pth", model)).table() == []


def save(path: Path, model: nn.Module) -> Path:
    torch.save(model.state_dict(), path)
    return path


def test_a_long_table_is_cut(tmp_path: Path) -> None:
    extra = {f"extra{number}.weight": torch.zeros(1) for number in range(99)}
    torch.save(nn.Linear(3, 2).state_dict() | extra, tmp_path / "a.pth")
    table = load_weights(nn.Linear(3, 2), tmp_path / "a.pth").table()
    assert len(table) == 41
    assert table[-1] == "  and 59 rows more"
