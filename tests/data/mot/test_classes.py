"""Other classes than pedestrians in MOTChallenge's tables: learned, scored and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_trees import SIZE, images, lines

from halftrack.data import DataError
from halftrack.data.mot import FrameBatches, MotDetectionConfig, learned_rows, read_mot
from halftrack.data.mot.classes import CLASS_NAMES, class_numbers, names_beside
from halftrack.data.mot.scoring import nothing_to_detect, unscorable
from halftrack.data.own.settings import mot_classes
from halftrack.errors import UserError
from halftrack.recipes import load_recipe

CARS = MotDetectionConfig(
    classes=("car", "bicycle"), training_split="train", image_scale=(64, 48), min_size=8
)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A sequence of two cars (class 3), a bicycle (4) and a person that is not evaluated."""
    folder = tmp_path / "MOT17/train/street"
    for path, content in images("img1", "{:06d}.jpg", range(1, 5)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content or b"")
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nseqLength=4\nimHeight={SIZE[0]}\nimWidth={SIZE[1]}\n"
    )
    (folder / "gt").mkdir()
    objects = ((1, 3, 1), (2, 3, 1), (3, 4, 1), (4, 1, 0))
    rows = [
        (frame, key, 5 + 9 * key, 9 + key, 12, 9, flag, kind, 1)
        for frame in range(1, 5)
        for key, kind, flag in objects
    ]
    (folder / "gt/gt.txt").write_bytes(lines(*rows))
    return tmp_path


def test_classes_are_learned_with_their_labels(street: Path) -> None:
    (sequence,) = read_mot(street, "train", classes=CARS.classes)
    rows, left_out = learned_rows(sequence)
    assert sequence.labels(rows).tolist() == [0, 0, 1] * 4
    assert left_out.other_classes == 4
    frames = FrameBatches.open(CARS, street).sample(seed=0, epoch=0, index=0)
    assert sorted(frames.labels.tolist()) == [0, 0, 1]


def test_the_data_tell_the_classes_that_are_evaluated(street: Path) -> None:
    assert mot_classes(MotDetectionConfig(), street) == ("bicycle", "car")
    labels = street / "MOT17/train/street/gt/labels.txt"
    labels.write_text("walker\nrider\nvan\ntram\n")
    assert names_beside(labels.with_name("gt.txt"))[:5] == ("walker", "rider", "van", "tram", "5")
    assert mot_classes(MotDetectionConfig(), street) == ("tram", "van")
    (sequence,) = read_mot(street, "train", classes=("tram", "car"))
    assert sequence.numbers == (4, 0)


def test_a_list_of_names_that_cannot_be_meant_is_refused(street: Path) -> None:
    labels = street / "MOT17/train/street/gt/labels.txt"
    labels.write_text("car\nvan\ncar\n")
    with pytest.raises(DataError, match=r"'car' is the name of the classes 1 and 3; name each"):
        names_beside(labels.with_name("gt.txt"))
    labels.unlink()
    labels.mkdir()
    with pytest.raises(DataError, match=r"labels\.txt: list of classes cannot be read: Is a dir"):
        names_beside(labels.with_name("gt.txt"))


def test_a_number_stands_for_itself_and_may_be_beyond_those_of_the_benchmark(street: Path) -> None:
    assert class_numbers(("3", "zebra", "horse"), CLASS_NAMES) == (3, 0, 0)
    with pytest.raises(UserError, match="'3' and 'car' are both number 3 in column 8"):
        class_numbers(("3", "car", "zebra"), CLASS_NAMES)
    table = street / "MOT17/train/street/gt/gt.txt"
    table.write_text(table.read_text().replace(",3,1\n", ",20,1\n"))
    with pytest.raises(DataError, match=r"class 20 in column 8, allowed are 1 to 13; name more in"):
        read_mot(street, "train")
    (sequence,) = read_mot(street, "train", classes=("20",))
    assert len(learned_rows(sequence)[0]) == 8


def test_scores_count_the_classes_that_are_tracked(street: Path) -> None:
    people, cars = (read_mot(street, "train", classes=each) for each in (("pedestrian",), ("car",)))
    assert not unscorable(cars, "MOT17")
    (problem,) = unscorable(people, "MOT17").values()
    assert "class 1 (pedestrian) and flag 1" in problem.reason
    assert nothing_to_detect(cars, flag_zero=False) is None
    nothing = nothing_to_detect(people, flag_zero=False)
    assert nothing is not None
    assert nothing.reason.startswith("no pedestrian inside")


def test_heads_follow_the_classes(street: Path) -> None:
    detector: Any = load_recipe("faster-rcnn_tiny_sample").with_classes([], street)
    tracker: Any = load_recipe("tracktor_tiny_sample").with_classes(["car"])
    assert detector.data.classes == ("bicycle", "car")
    assert detector.model.roi_head.num_classes == 2
    detector.check_before_data()
    assert tracker.detector.roi_head.num_classes == len(tracker.data.classes) == 1


@pytest.mark.parametrize(
    "name", ["faster-rcnn_tiny_sample", "reid_tiny_sample", "tracktor_tiny_sample"]
)
def test_classes_that_cannot_be_are_refused_by_each_recipe(name: str, street: Path) -> None:
    recipe = load_recipe(name)
    for wrong, told in ((["car", "car"], "'car' comes twice"), (["car", ""], "one is empty")):
        with pytest.raises(UserError, match=told):
            recipe.with_classes(wrong)
    (street / "MOT17/train/street/gt/gt.txt").write_text("")
    with pytest.raises(UserError, match="there is none"):
        recipe.with_classes([], street)
