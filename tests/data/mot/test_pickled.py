"""MMTracking's pickles of public detections give the boxes of det.txt, or are refused whole."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import RunsCode

from halftrack.data import DataError
from halftrack.data.check import check
from halftrack.data.mot import MotDetectionConfig, MotSequences, read_mot

GOLDEN = Path(__file__).parents[2] / "golden"
PICKLE = "converted/MOT17/annotations/half-val_detections.pkl"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fake")
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fake_data"


def test_the_pickle_and_det_txt_give_the_same_boxes(fake: Path) -> None:
    written = read_mot(fake, "half-val", detections=True)
    pickled = read_mot(fake, "half-val", detections=fake / PICKLE)
    assert len(written) == len(pickled) > 0
    for one, other in zip(written, pickled, strict=True):
        assert one.detections is not None
        assert other.detections is not None
        assert len(one.detections) > 0
        for number in one.frame_numbers:
            here, there = (rows.in_frame(number) for rows in (one.detections, other.detections))
            order, other_order = np.argsort(here.scores), np.argsort(there.scores)
            # mot2coco writes corners rounded to float32.
            np.testing.assert_allclose(
                here.boxes_xyxy[order], there.boxes_xyxy[other_order], atol=1e-4
            )
            np.testing.assert_allclose(here.scores[order], there.scores[other_order], atol=1e-6)


def test_a_recipe_reads_it_and_the_check_knows_it(fake: Path, tmp_path: Path) -> None:
    config = MotDetectionConfig(public=True, public_file=str(fake / PICKLE), image_scale=(160, 96))
    (sequence, *_) = MotSequences.open(config, fake, threads=0)
    frame = next(sequence.frames())
    assert frame.public_xyxy is not None
    assert len(frame.public_xyxy) > 0
    assert not check(fake, config, tracked=True).problems
    state = pickle.loads((fake / PICKLE).read_bytes())
    first = next(name for name in state["det_bboxes"] if name.startswith(sequence.name))
    state["det_bboxes"][first] = [np.zeros((1, 3))]
    problems = check(fake, written(config, tmp_path, state), tracked=True).problems
    assert [(each.file, "3 columns" in each.reason) for each in problems] == [
        (str(tmp_path / "a.pkl"), True)
    ]


def written(config: MotDetectionConfig, folder: Path, state: Any) -> MotDetectionConfig:
    (folder / "a.pkl").write_bytes(pickle.dumps(state))
    return MotDetectionConfig(
        public=True, public_file=str(folder / "a.pkl"), image_scale=config.image_scale
    )


def test_a_sequence_it_does_not_name_is_told(fake: Path, tmp_path: Path) -> None:
    state = pickle.loads((fake / PICKLE).read_bytes())
    kept = {name: value for name, value in state["det_bboxes"].items() if "MOT17-04" not in name}
    config = written(MotDetectionConfig(), tmp_path, {"det_bboxes": kept})
    with pytest.raises(DataError, match=r"a\.pkl: it names no frame of MOT17-04"):
        MotSequences.open(config, fake)


IMAGE = "MOT17-02-FRCNN/img1/000008.jpg"
WRONG = {
    "a list": ([1, 2], "expected det_bboxes"),
    "numbers for names": ({"det_bboxes": {1: []}}, "expected det_bboxes"),
    "two classes": ({IMAGE: [np.zeros((1, 5)), np.zeros((1, 5))]}, "expected one array of numbers"),
    "text": ({IMAGE: [np.array([["a"] * 5])]}, "expected one array of numbers"),
    "no score": ({IMAGE: np.zeros((1, 4))}, "4 columns, expected x1, y1, x2, y2, score"),
    "nan": ({IMAGE: np.full((1, 5), np.nan)}, "a box that is not finite"),
    "far away": ({IMAGE: np.array([[0, 0, 1e9, 1e9, 1]])}, "a box that is not finite, or ends"),
    "sizes": ({IMAGE: np.array([[50, 50, 20, 20, 1]])}, "ends before it begins"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_contents_are_told_with_the_image(fake: Path, tmp_path: Path, name: str) -> None:
    state, message = WRONG[name]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(state))
    with pytest.raises(DataError, match=message):
        read_mot(fake, "half-val", detections=tmp_path / "a.pkl")


def test_code_has_not_run_and_a_missing_file_is_told(fake: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({IMAGE: RunsCode(tmp_path / "ran")}))
    with pytest.raises(DataError, match=r"cannot be read safely: it holds \w+\.mkdir"):
        read_mot(fake, "half-val", detections=tmp_path / "a.pkl")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(DataError, match="no file"):
        read_mot(fake, "half-val", detections=tmp_path / "b.pkl")


def test_a_file_that_is_not_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"public_file='a\.pkl': it is read with public=True"):
        MotDetectionConfig(public_file="a.pkl")
