"""Every command of docs/own_data.md runs, on small synthetic video with other classes."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from halftrack.cli import main
from halftrack.report.video import VideoWriter
from halftrack.synthetic import SyntheticVideo, write_synthetic

PAGE = Path(__file__).parents[1] / "docs/own_data.md"
COMMANDS = re.findall(r"^    halftrack (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
SHORT = ["training.epochs=1", "training.milestones=()", "training.workers=0"]
CROPS = ["max_crops=4", "min_crops=1", "identities_per_batch=2", "crops_per_identity=2"]
# A norm that keeps features in range without any training.
NORM = "model.backbone.norm=group"
SETTINGS = {
    "train selsa_tiny_sample": SHORT,
    "train faster-rcnn_tiny_sample": SHORT,
    "train reid_tiny_sample": [*SHORT, "data.validation_share=0.5", *(f"data.{e}" for e in CROPS)],
    "train siamese_rpn_tiny_sample": [*SHORT, "data.pairs_per_epoch=16"],
}
"""Settings of a training that here stands for a longer one."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page's commands name: videos, streets and targets of one's own."""
    folder = tmp_path_factory.mktemp("own")
    size = (72, 120)
    for layout, name in (("vid", "my-videos"), ("mot", "streets_of"), ("sot", "my-targets")):
        films = SyntheticVideo(layout=layout, train_videos=3, val_videos=0, frames=12, size=size)  # type: ignore[arg-type]
        write_synthetic(folder / name, films)
    for file in (folder / "my-videos").rglob("*.xml"):
        classes = {"n90000001": "van", "n90000002": "tram", "n90000003": "van", "n90000004": "tram"}
        text = file.read_text(encoding="utf-8")
        for wnid, name in classes.items():
            text = text.replace(wnid, name)
        file.write_text(text, encoding="utf-8")
    for lists in ("Lists", "ImageSets"):
        shutil.rmtree(folder / "my-videos/ILSVRC" / lists, ignore_errors=True)
    shutil.move(folder / "streets_of/MOT17/train", folder / "my-streets")
    for table in (folder / "my-streets").rglob("gt.txt"):
        rows = [line.split(",") for line in table.read_text().split()]
        rows = [[*row[:7], "3" if row[7] == "1" else row[7], row[8]] for row in rows]
        table.write_text("".join(",".join(row) + "\n" for row in rows))
    shutil.copytree(next((folder / "my-streets").iterdir()), folder / "VIDEO")
    _write_clip(folder)
    return folder


def _write_clip(folder: Path) -> None:
    import torch

    from halftrack.recipes import load_recipe, override

    with VideoWriter(folder / "clip.mp4", size=(120, 160), frame_rate=10) as film:
        for number in range(4):
            film.write(torch.full((3, 120, 160), 40 * number, dtype=torch.uint8))
    weights = folder / "runs/quickstart/sot/siamrpn_fp16/best.pth"
    weights.parent.mkdir(parents=True)
    untrained = override(load_recipe("siamese_rpn_tiny_sample"), [NORM]).build_model()
    torch.save({"state_dict": untrained.state_dict()}, weights)


def test_the_page_names_its_commands() -> None:
    assert {" ".join(each.split()[:2]) for each in COMMANDS} >= {
        *("data check", "data show", "data split", "train selsa_tiny_sample", "track VIDEO"),
        *("eval tracktor_tiny_sample", "train siamese_rpn_tiny_sample", "track clip.mp4"),
    }


@pytest.mark.slow
def test_every_command_runs(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(there)
    monkeypatch.setenv("XDG_CACHE_HOME", str(there / "cache"))
    for command in COMMANDS:
        words = shlex.split(command)
        for setting in SETTINGS.get(" ".join(words[:2]), []):
            words += ["--set", setting]
        if "siamese_rpn_tiny_sample" in words:
            words += ["--set", NORM]
        monkeypatch.setattr(sys, "argv", ["halftrack", *words])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        told = capsys.readouterr()
        # Without a part to validate on, as the page says, the first look finds a problem.
        allowed = (0, 3) if command == "data check my-videos" else (0,)
        assert code in allowed, f"{command}: {told.out}{told.err}"
    assert (there / "compared").is_dir()
    assert list((there / "tracks").glob("*.mp4"))
    assert list((there / "followed").glob("*.mp4"))
