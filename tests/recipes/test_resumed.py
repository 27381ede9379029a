"""The same command goes on with its run, and another one never touches it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from processes import in_processes

from halftrack.recipes import load_recipe, override, resumed
from halftrack.recipes.kinds.trained import TrainedRecipe
from halftrack.recipes.resumed import held_run
from halftrack.training import TrainingResult
from halftrack.training.files.checkpoint import NewestCheckpoint
from halftrack.training.ranks import together

REID = "reid_tiny_sample"


def recipe(*settings: str) -> TrainedRecipe:
    return override(load_recipe(REID), settings).for_training()


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A folder with a checkpoint of the recipe, seed 0, begun with other weights than its own."""
    parts = ("log", "state_dict", "optimizer", "schedule", "loss_scale", "average")
    settled = recipe().to_dict()
    settled["model"]["num_identities"] = 7  # the data tell it, and they are not read here
    meta = {"recipe": settled, "seed": 0, "init": str(tmp_path / "r50.pth")}
    position = {"epochs_finished": 1, "batches_done": 3, "steps": 3, "skipped": 1}
    position |= {"best": 0.5, "metrics": {"score": 0.5}}
    state = {part: {} for part in parts} | {"meta": meta, "position": position}
    state["loss_scale"] = {"kind": "dynamic", "scale": 512.0}
    torch.save(state, tmp_path / "step_3.pth")
    return tmp_path


def asked(
    out: Path,
    *settings: str,
    seed: int = 0,
    init: str | Path | None = None,
    must: str | None = None,
) -> NewestCheckpoint | None:
    return held_run(recipe(*settings), out, seed=seed, init=init, asked=must)


def test_a_run_goes_on_where_it_is_and_begins_where_it_is_not(begun: Path) -> None:
    so_far = TrainingResult(
        steps=3,
        skipped=1,
        loss_scale=512.0,
        metrics={"score": 0.5},
        best=0.5,
        checkpoint=begun / "step_3.pth",
        epochs_finished=1,
    )
    for must in (None, "--resume must"):
        held = asked(begun, must=must)
        assert held is not None
        assert TrainingResult.of_checkpoint(held.path, held.state) == so_far
    assert not asked(begun / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no step_\*\.pth in .*leave out --resume must"):
        asked(begun / "elsewhere", must="--resume must")


def test_fields_on_which_no_weight_depends_may_change(begun: Path) -> None:
    assert asked(begun, "training.log_every=7", "training.workers=3")


def test_a_field_that_an_earlier_version_did_not_know_is_as_its_default(begun: Path) -> None:
    file = begun / "step_3.pth"
    state = torch.load(file)
    del state["meta"]["recipe"]["data"]["classes"]
    torch.save(state, file)
    assert asked(begun)
    with pytest.raises(ValueError, match=r"data\.classes was None, now \['car'\]"):
        asked(begun, "data.classes=car")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.lr=0.3"], r"another recipe: training\.lr was 0\.0\d*, now 0\.3: choose"),
        (
            [f"training.{name}" for name in ("lr=0.3", "momentum=0.1", "gamma=0.2", "epochs=9")],
            r"training\.epochs was \d+, now 9; .* was .*; .* was .*, and 1 more: choose another",
        ),
    ],
)
def test_another_recipe_is_refused_with_what_differs(
    begun: Path, settings: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        asked(begun, *settings)


def test_another_seed_is_refused(begun: Path) -> None:
    with pytest.raises(ValueError, match=r"with seed 0, this run has 1: choose another folder"):
        asked(begun, seed=1)


def test_first_weights_may_be_named_again_in_any_spelling_but_are_not_exchanged(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(begun)
    assert asked(begun, init="r50.pth")
    assert asked(begun, init=begun / "r50.pth")
    with pytest.raises(
        ValueError, match=r"began with the weights '.*, not 'none': to .* --init .*r50"
    ):
        asked(begun, init="none")
    state = torch.load(begun / "step_3.pth")
    del state["meta"]["init"]  # an earlier version's
    torch.save(state, begun / "step_3.pth")
    assert asked(begun, init="none")


def test_a_folder_whose_files_are_all_torn_is_no_empty_one(begun: Path) -> None:
    (begun / "step_3.pth").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"nothing to resume: no intact step_\*\.pth"):
        asked(begun)


def test_an_old_field_name_in_a_checkpoint_is_told_with_the_new_one(begun: Path) -> None:
    state = torch.load(begun / "step_3.pth")
    training = state["meta"]["recipe"]["training"]
    training["published_clips_per_step"] = training.pop("published_batches_per_step")
    torch.save(state, begun / "step_3.pth")
    with pytest.raises(ValueError, match=r"published_clips_per_step' is now .*batches_per_step'"):
        asked(begun)


def test_what_the_first_process_alone_cannot_read_ends_all_with_its_error(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(folder: Path, _: str | None) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    def met() -> str:
        with together(torch.device("cpu")) as ranks:
            if ranks.is_first:
                monkeypatch.setattr(resumed, "holds_asked_run", denied)
            with pytest.raises(PermissionError) as told:
                held_run(recipe(), begun, seed=0, init=None, asked=None, ranks=ranks)
            return str(told.value)

    assert in_processes(2, met) == [f"[Errno 13] Permission denied: '{begun}'"] * 2
