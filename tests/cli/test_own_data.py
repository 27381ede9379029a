"""`data check` of a folder of one's own, and of a word that may be a recipe too."""

from __future__ import annotations

import shlex
from pathlib import Path

import own_trees
import pytest
from small_trees import change_tree

from halftrack.cli.recipe import with_classes
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
