"""What is published holds weights and meta alone, under a name that says what is in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from published import published, save_published
from torch import nn

from halftrack.errors import UserError
from halftrack.interop.checkpoints.publish import publish
from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import write_checkpoint

MODEL = nn.Linear(3, 2)


def ours(path: Path, **changed: object) -> Path:
    meta = {"recipe": {"name": "selsa_mine"}, "seed": 0}
    state = {"meta": meta, "state_dict": MODEL.state_dict(), "optimizer": {}, "average": {}}
    write_checkpoint(path, {**state, **changed})
    return path


def test_the_name_ends_in_the_hash_of_the_file(tmp_path: Path) -> None:
    found = publish(ours(tmp_path / "best.pth"))
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    assert found == tmp_path / f"selsa_mine-{digest[:8]}.pth"
    state = read_checkpoint(found)
    assert set(state) == {"meta", "state_dict"}
    assert torch.equal(state["state_dict"]["weight"], MODEL.weight)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best.pth", found.name]


def test_the_same_weights_get_the_same_name(tmp_path: Path) -> None:
    first, second = (publish(ours(tmp_path / name)) for name in ("step_1.pth", "step_2.pth"))
    assert first == second


def test_a_name_of_one_s_own_is_kept(tmp_path: Path) -> None:
    found = publish(ours(tmp_path / "best.pth"), tmp_path / "mine.pth")
    assert found.name.startswith("mine-")
    assert found.suffix == ".pth"


def test_a_file_of_mmtracking_is_stripped_too(tmp_path: Path) -> None:
    theirs = save_published(tmp_path / "epoch_2.pth", published(MODEL.state_dict()))
    found = publish(theirs)
    assert found.name.startswith("epoch_2-")
    assert "optimizer" not in read_checkpoint(found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"state_dict": {"weight": torch.full((2,), torch.nan)}},
            "weight holds nan, in 2 of 2 places",
        ),
        ({"state_dict": {}}, "holds no weights"),
        ({"state_dict": None}, "no checkpoint with meta and state_dict"),
        ({"meta": "mine"}, "no checkpoint with meta and state_dict"),
    ],
    ids=["nan", "empty", "no weights", "no meta"],
)
def test_what_cannot_be_published_is_told(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        publish(ours(tmp_path / "best.pth", **changed))
    assert [each.name for each in tmp_path.iterdir()] == ["best.pth"]


def test_a_recipe_s_name_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    found = publish(ours(tmp_path / "run/best.pth", meta={"recipe": {"name": "../../evil"}}))
    assert found.parent == tmp_path / "run"
    assert found.name.startswith("best-")
