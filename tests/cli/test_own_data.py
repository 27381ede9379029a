"""`data check` of a folder of one's own, and of a word that may be a recipe too."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import own_trees
import pytest
import small_trees as trees
import torch
import typer
from small_trees import Tree, change_tree

from halftrack.cli.app import app
from halftrack.cli.recipe import choose_recipe, find_recipe, with_classes
from halftrack.recipes import load_recipe, override


def test_a_folder_is_recognised_counted_and_given_a_command(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    change_tree(data, {}, own_trees.own_vid())
    assert halftrack("data", "check", data, "--decode") == 0
    told = capsys.readouterr().out
    assert f"{data / 'ILSVRC'}: ImageNet VID" in told
    assert "boxes: tram 12, van 12" in told
    assert "all is well" in told
    command = next(line for line in told.splitlines() if "train selsa_tiny_sample" in line)
    assert command.endswith(f"--data-root {data} --classes from-data --set data.key_frames=all")
    (data / "ILSVRC/Data/VID/train/shard/a/000001.JPEG").unlink()
    assert halftrack("data", "check", data) == 3
    assert "000001.JPEG: image is missing" in capsys.readouterr().out


def test_the_command_that_is_told_trains(halftrack, tmp_path: Path) -> None:
    data = tmp_path / "data"
    change_tree(data, {}, own_trees.own_vid())
    short = [f"training.{each}" for each in ("epochs=1", "milestones=()", "workers=0")]
    small = ["data.image_scale=(64, 48)", "data.min_size=8"]
    settings = [word for each in (*short, *small) for word in ("--set", each)]
    own = ("--data-root", data, "--classes", "from-data", "--set", "data.key_frames=all")
    out = tmp_path / "run"
    assert halftrack("train", "selsa_tiny_sample", *own, *settings, "--out", out) == 0
    best = ("--checkpoint", out / "best.pth", *settings)
    assert halftrack("eval", "selsa_tiny_sample", *own, *best) == 0
    told = (out / "eval.json").read_text()
    assert '"van"' in told
    assert '"tram"' in told


def test_a_name_that_is_a_recipe_and_a_folder_is_refused_with_both_ways_to_write_it(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change_tree(tmp_path / "selsa_tiny_sample", {}, own_trees.yolo())
    assert halftrack("data", "check", "selsa_tiny_sample") == 2
    told = capsys.readouterr().err
    assert "write ./selsa_tiny_sample for what is here" in told
    assert "selsa_tiny_sample --data-root FOLDER" in told
    assert halftrack("data", "check", "./selsa_tiny_sample") == 0
    assert "no recipe reads it as it is" in capsys.readouterr().out
    assert halftrack("data", "check", "selsa_tiny_sample", "--data-root", tmp_path) == 2
    assert "no ImageNet here" in capsys.readouterr().err


def test_the_split_that_is_told_runs_for_each_json_file(
    halftrack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change_tree(tmp_path / "data", {}, own_trees.coco())
    assert halftrack("data", "check", "data") == 0
    told = capsys.readouterr().out.splitlines()
    commands = [shlex.split(line) for line in told if "halftrack data split" in line]
    assert [command[-1] for command in commands] == ["own_parts", "stills_parts"]
    for command in commands:
        assert halftrack(*command[1:]) == 0


def only(tree: Callable[[], Tree], *without: str) -> Tree:
    """A tree without the files whose path holds one of these words."""
    return {path: told for path, told in tree().items() if not any(w in path for w in without)}


WELL: dict[str, Tree] = {
    "VID": trees.vid(),
    "VID to test on": only(trees.vid, "/train", "Lists", "ImageSets"),
    "VID of one's own": own_trees.own_vid(),
    "VID and DET": trees.vid() | trees.det(),
    "DET without its list": only(trees.det, "Lists"),
    "MOT15": trees.mot("MOT15"),
    "MOT17 to train on": only(partial(trees.mot, "MOT17"), "/test/"),
    "MOT17's test sequences": only(partial(trees.mot, "MOT17"), "/train/"),
    "MOT20": trees.mot("MOT20"),
    "sequences": own_trees.sequences(),
    "one sequence": only(own_trees.sequences, "-04-"),
    "LaSOT": trees.lasot(),
    "LaSOT by MMTracking's lists": trees.lasot_infos(),
    "LaSOT to test on": only(trees.lasot, "-2"),
    "OTB100": only(trees.otb, "coco"),
    "UAV123": only(trees.uav, "coco"),
    "TrackingNet": only(trees.trackingnet, "coco"),
    "TrackingNet to train on": only(trees.trackingnet, "coco", "TEST"),
    "GOT-10k": only(trees.got10k, "coco"),
    "GOT-10k to validate on": only(trees.got10k, "coco", "/test/"),
    "VOT2018 beside COCO": trees.vot(),
    "COCO and CocoVID of one's own": own_trees.coco(),
    "YOLO": own_trees.yolo(),
    "one image": only(own_trees.yolo, "001", "002"),
}
# A part is missing that the recipes of these files read, as seqinfo.ini of MOT17 beside CocoVID.
WITH_PROBLEMS: dict[str, Tree] = {
    "YOLO with a box that is none": own_trees.yolo() | {"labels/train/002.txt": b"van 1 1 1 1\n"},
    "VID to train on": only(trees.vid, "/val"),
    "one video": only(own_trees.own_vid, "/b/", "/val"),
    "DET alone": only(trees.det, "/VID/"),
    "MOT17 without truth": only(partial(trees.mot, "MOT17"), "gt.txt"),
    "CocoVID of MOT17": trees.cocovid_mot(),
    "LaSOT without its list": only(trees.lasot, "testing_set"),
    "one target": only(trees.lasot, "testing_set", "dog", "-2"),
}


@pytest.mark.parametrize("name", [*WELL, *WITH_PROBLEMS])
def test_every_command_that_is_told_runs(
    name: str,
    halftrack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "my data"
    change_tree(root, {}, (WELL | WITH_PROBLEMS)[name])
    monkeypatch.chdir(tmp_path)
    assert halftrack("data", "check", root) == (0 if name in WELL else 3)
    told = capsys.readouterr().out.splitlines()
    commands = [shlex.split(line) for line in told if line.strip().startswith("halftrack ")]
    assert commands or any("parts cannot be made of it" in line for line in told)
    for _, *words in commands:
        if words[0] == "data":
            assert halftrack(*words) == 0, capsys.readouterr().err
            assert halftrack("data", "check", words[-1]) == 0
        elif name in WELL:
            _open_data(words)


def _open_data(words: list[str]) -> None:
    """Parse a command, and open its data as it does, without a step and without weights."""
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    given = command.make_context(words[0], words[1:]).params
    recipe = choose_recipe(
        find_recipe(given["recipe"], None, given["settings"]), None, given["settings"]
    )
    recipe = with_classes(recipe, given["classes"], given["data_root"])
    if words[0] == "train":
        recipe = recipe.for_training()
        recipe.check_before_data()
        recipe.settled(given["data_root"]).training_source(given["data_root"]).close()
    recipe.scorer(given["data_root"], torch.device("cpu"))


def test_classes_are_named_or_of_the_data(tmp_path: Path) -> None:
    change_tree(tmp_path, {}, own_trees.own_vid())
    recipe = override(load_recipe("selsa_tiny_sample"), ["data.key_frames=all"])
    for given in ("from-data", "tram, van"):
        chosen = with_classes(recipe, given, tmp_path)
        assert chosen.data.classes == (("tram", "tram"), ("van", "van"))
    assert with_classes(recipe, None) is recipe


def test_names_of_classes_that_cannot_be_are_refused(
    halftrack, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, told in (
        ("from-data", "give --data-root, or name the classes"),
        ("van,van", "'van' comes twice"),
        ("van,,tram", "one is empty"),
    ):
        assert halftrack("plan", "selsa_tiny_sample", "--classes", wrong) == 2
        assert told in capsys.readouterr().err
    assert halftrack("plan", "siamese_rpn_tiny_sample", "--classes", "van") == 2
    assert "tells no classes apart" in capsys.readouterr().err


def test_the_head_follows_the_classes_and_a_known_name_has_its_wnid() -> None:
    recipe = load_recipe("selsa_tiny_sample").with_classes(["car", "van"])
    assert recipe.data.classes == (("car", "n02958343"), ("van", "van"))
    assert recipe.model.roi_head.num_classes == 2  # type: ignore[attr-defined]
