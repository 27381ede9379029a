"""``halftrack import``, and configs and recipe files in the place of a recipe's name."""

from __future__ import annotations

import json
from pathlib import Path

from mmtracking_configs import edited

from halftrack.errors import UserError

SELSA = "selsa_faster_rcnn_r50_dc5_1x_imagenetvid"
OWN = """
from dataclasses import replace
from halftrack.recipes import load_recipe
base = load_recipe("reid_tiny_sample")
recipe = replace(base, name="mine", data=replace(base.data, max_crops=9))
"""


def test_a_config_becomes_a_file_that_show_takes(tmp_path: Path, halftrack, capsys) -> None:
    config = edited(tmp_path, SELSA, "optimizer = dict(lr=0.005)\nload_from = 'a.pth'")
    out = tmp_path / "own.py"
    assert halftrack("import", config, "-o", out, "--cfg-options", "total_epochs=3") == 0
    told = capsys.readouterr().out
    assert f"own.py: {SELSA} with 2 fields changed" in told
    assert "not needed here: checkpoint_config" in told
    assert 'init = "a.pth"' in out.read_text()
    shown = []
    for file in (out, config):
        assert halftrack("show", file, "--set", "training.epochs=3") == 0
        shown.append(json.loads(capsys.readouterr().out))
        assert "lr=0.005" in shown[-1].pop("text")
    assert shown[0] == shown[1]
    assert (shown[0]["name"], shown[0]["training"]["lr"]) == ("mine", 0.005)


def test_without_a_file_the_recipe_is_printed(tmp_path: Path, halftrack, capsys) -> None:
    assert halftrack("import", edited(tmp_path, SELSA, "total_epochs = 3")) == 0
    assert "training=replace(base.training, epochs=3)" in capsys.readouterr().out


def test_mistakes_are_told_in_a_line(tmp_path: Path, halftrack, capsys) -> None:
    config = edited(tmp_path, SELSA, "optimizer = dict(type='Adam')")
    own = tmp_path / "own.py"
    own.write_text(OWN)
    for arguments, words in (
        (("import", config), "mine.py, line 2: optimizer=dict(...): type='Adam': here it is 'SGD'"),
        (("train", config, "--data-root", tmp_path), "here it is 'SGD'"),
        (("import", own), "is a recipe already"),
        (("import", config, "--cfg-options", "optimizer.type=SGD", "-o", own), "already; move"),
        (("show", own, "--set", "data.max_crop=3"), "no recipe field 'data.max_crop'"),
        (("show", tmp_path / "no.py"), "there is no such file"),
    ):
        assert halftrack(*arguments) == 2, arguments
        assert words in capsys.readouterr().err.replace("\n", " ")


def test_start_weights_that_are_missing_are_told_with_the_config(
    tmp_path: Path, halftrack, capsys
) -> None:
    config = edited(tmp_path, SELSA, "load_from = 'a.pth'")
    assert halftrack("train", config, "--data-root", tmp_path) == 2
    assert "mine.py starts from a.pth, and there is no such file" in capsys.readouterr().err


def test_a_training_is_given_the_text_and_the_start_weights(
    tmp_path: Path, halftrack, monkeypatch
) -> None:
    given = {}

    def train(recipe, **settings):
        given.update(settings, recipe=recipe)
        raise UserError("far enough")

    monkeypatch.setattr("halftrack.recipes.train", train, raising=False)
    weights = tmp_path / "a.pth"
    weights.write_bytes(b"PK")
    (tmp_path / "MOT17/train").mkdir(parents=True)
    for init, expected in (("", None), (f'init = "{weights}"', str(weights))):
        (tmp_path / "mine.py").write_text(OWN + init)
        assert halftrack("train", tmp_path / "mine.py", "--data-root", tmp_path) == 2
        assert (given["recipe"].name, given["recipe"].text) == ("mine", OWN + init)
        assert given["init"] == expected
    # Of a run that goes on the name is compared; the file is needed no more.
    weights.unlink()
    out = tmp_path / "run"
    out.mkdir()
    (out / "step_1.pth").touch()
    assert halftrack("train", tmp_path / "mine.py", "--data-root", tmp_path, "--out", out) == 2
    assert given["init"] == str(weights)
