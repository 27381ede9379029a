"""Files that recipes come from: one's own, which are run, and configs, which are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmtracking_configs import edited

from halftrack.errors import MissingFileError
from halftrack.interop import ConfigError, open_recipe_file
from halftrack.interop.recipe_files import is_own_recipe

OWN = """
from dataclasses import replace
from halftrack.recipes import load_recipe
base = load_recipe("selsa_tiny_sample")
recipe = replace(base, name="mine")
init: str = "weights.pth"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "mine.py").write_text(text, encoding="utf-8")
    return folder / "mine.py"


def test_a_recipe_of_ones_own_is_run_when_it_is_loaded(tmp_path: Path) -> None:
    file = open_recipe_file(write(tmp_path, OWN))
    assert (file.text, file.notes) == (OWN, ())
    assert (file.load().name, file.init) == ("mine", "weights.pth")
    assert is_own_recipe(file.path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_start_weights_are_what_the_file_computes(tmp_path: Path) -> None:
    text = f"from pathlib import Path\n{OWN}\ninit = Path('a') / 'b.pth'"
    assert open_recipe_file(write(tmp_path, text)).init == "a/b.pth"


def test_a_file_is_run_once(tmp_path: Path) -> None:
    made = tmp_path / "made"
    file = open_recipe_file(write(tmp_path, f"{OWN}\nimport os\nos.mkdir({str(made)!r})"))
    assert file.load() is file.load()
    assert file.init == "weights.pth"
    assert made.is_dir()


def test_opening_a_file_executes_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    text = f"from pathlib import Path\nPath({str(touched)!r}).touch()\nrecipe = 1"
    open_recipe_file(write(tmp_path, text))
    assert not touched.exists()


def test_a_config_is_read_with_its_text_and_start_weights(tmp_path: Path) -> None:
    path = edited(tmp_path, "selsa_faster_rcnn_r50_dc5_1x_imagenetvid", "load_from = 'a.pth'")
    file = open_recipe_file(path, ["optimizer.lr=0.005"])
    assert file.init == "a.pth"
    assert file.load().training.lr == 0.005  # type: ignore[attr-defined]
    assert "type='SelsaRoIHead'" in file.text
    assert not is_own_recipe(path)


WRONG = {
    "both": ("recipe = 1\nmodel = dict()", "it assigns recipe.*and model, as a config"),
    "neither": ("x = 1", r"assigns recipe \(a recipe of your own\) or _base_, model, data"),
    "no Python": ("recipe = (", r"mine\.py, line 1: no Python"),
    "a mistake in it": ("x = 1\nrecipe = missing", r"mine\.py, line 2: NameError: name 'missing'"),
    "a mistake deeper": (
        "\nfrom halftrack.recipes import load_recipe\nrecipe = load_recipe('selsa')",
        r"mine\.py, line 3: no recipe 'selsa'; the nearest are",
    ),
    "no recipe": ("recipe = 3", "recipe=3: expected a recipe"),
    "weights of no file": (f"{OWN}\ninit = 3", "init=3: expected the path of a file of weights"),
    "a kind of recipe": (
        "from halftrack.recipes import VideoDetectionRecipe\nrecipe = VideoDetectionRecipe",
        "expected a recipe",
    ),
}


@pytest.mark.parametrize("story", WRONG)
def test_a_file_that_is_no_recipe_is_told_with_its_line(story: str, tmp_path: Path) -> None:
    text, words = WRONG[story]
    with pytest.raises(ConfigError, match=words):
        open_recipe_file(write(tmp_path, text)).load()


def test_options_are_for_configs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="change a recipe with --set"):
        open_recipe_file(write(tmp_path, OWN), ["optimizer.lr=1"])


def test_a_file_that_is_missing_is_told() -> None:
    with pytest.raises(MissingFileError, match=r"no\.py: there is no such file"):
        open_recipe_file("no.py")
