"""mot2reid's lists give its crops as they are; a line that cannot be used is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halftrack.data import DataError
from halftrack.data.check import check
from halftrack.data.mot import CropBatches, ReIDDataConfig, crops_in_order, read_crops

CONFIG = ReIDDataConfig(
    training_list="reid/meta/train_60.txt",
    validation_list="reid/meta/val_40.txt",
    identities_per_batch=2,
    crops_per_identity=2,
    flip_probability=0.0,
)
SIZE = (32, 16)


@pytest.fixture
def fake(fake_data: Path) -> Path:
    shutil.copytree(fake_data / "converted/MOT17/reid", fake_data / "MOT17/reid")
    return fake_data


def test_training_and_validation_are_those_of_the_lists(fake: Path) -> None:
    training, validation = read_crops(CONFIG, fake), read_crops(CONFIG, fake, validation=True)
    lines = (fake / "MOT17" / CONFIG.training_list).read_text().splitlines()
    assert len(training) == len(lines) == 25
    assert training.labels.tolist() == sorted(int(line.split()[1]) for line in lines)
    assert len(validation) == 20
    assert training.facts()["individuals"] == training.num_identities > 1
    assert training.facts() != validation.facts()


def test_facts_tell_which_files_a_list_names(fake: Path) -> None:
    before = read_crops(CONFIG, fake).facts()
    file = fake / "MOT17" / CONFIG.training_list
    first, *others, last = (line.split() for line in file.read_text().splitlines())
    assert first[1] != last[1]
    swapped = [(last[0], first[1]), *others, (first[0], last[1])]
    file.write_text("".join(f"{path} {individual}\n" for path, individual in swapped))
    after = read_crops(CONFIG, fake).facts()
    assert {name for name in before if before[name] != after[name]} == {"ground truth"}


def test_a_crop_is_its_file_to_the_last_bit(fake: Path) -> None:
    crops = read_crops(CONFIG, fake)
    for config in (CONFIG, replace(CONFIG, cache_mb=0)):
        batches = CropBatches(crops=crops, config=config, crop_size=SIZE)
        batch = batches.sample(seed=1, epoch=0, index=0)
        assert batch.images.shape == (4, 3, *SIZE)
        assert set(batch.sample_ids) <= {crops.sample_id(n) for n in range(len(crops))}
        for number, held in batches._cutter._held.items():  # no second encoding
            file = fake / f"MOT17/reid/imgs/{crops.sample_id(number)}.jpg"
            assert held.content == file.read_bytes()
    with Image.open(fake / f"MOT17/reid/imgs/{crops.sample_id(0)}.jpg") as image:
        pixels = np.asarray(image.convert("RGB"))
    size = (pixels.shape[0], pixels.shape[1])
    first = next(crops_in_order(crops, size=size, batch_size=1, threads=0))
    np.testing.assert_array_equal(first.images[0].permute(1, 2, 0).numpy(), pixels)


def test_the_check_looks_at_both_lists_and_their_images(fake: Path) -> None:
    report = check(fake, CONFIG, decode=True)
    assert report.problems == ()
    assert [each.counts["crops"] for each in report.sets] == [25, 20]
    image = fake / "MOT17/reid/imgs" / f"{read_crops(CONFIG, fake).sample_id(3)}.jpg"
    image.unlink()
    (problem,) = check(fake, CONFIG).problems
    assert (problem.file, problem.reason) == (str(image), "image is missing")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a/000001.jpg", "expected <path of a crop> <number of"),
        ("a/000001.jpg -1", "expected <path of a crop>"),
        ("../a/000001.jpg 1", "expected <path of a crop>"),
        ("/a/000001.jpg 1", "expected <path of a crop>"),
        ("MOT17-02-FRCNN_000001/000000.jpg 3", ": is in line 1 already; list each"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line: str, told: str, fake: Path) -> None:
    file = fake / "MOT17" / CONFIG.training_list
    file.write_text(f"{file.read_text().rstrip()}\n\n{line}\n".replace("\n\n", "\n"))
    with pytest.raises(DataError, match=rf"train_60.txt: line 26, .*{told}"):
        read_crops(CONFIG, fake)
    assert len(check(fake, CONFIG).problems) == 1


def test_a_list_of_which_no_crop_has_a_partner_is_refused(fake: Path) -> None:
    (fake / "MOT17" / CONFIG.validation_list).write_text("a/1.jpg 0\nb/1.jpg 1\n")
    with pytest.raises(DataError, match="each of the 2 crops for validation shows another"):
        read_crops(CONFIG, fake, validation=True)
    (fake / "MOT17" / CONFIG.validation_list).write_text("\n")
    with pytest.raises(DataError, match=r"val_40.txt: the list is empty, expected a line for each"):
        read_crops(CONFIG, fake, validation=True)
    (fake / "MOT17" / CONFIG.validation_list).unlink()
    with pytest.raises(DataError, match=r"val_40.txt: list of crops is missing"):
        read_crops(CONFIG, fake, validation=True)
    shutil.rmtree(fake / "MOT17/reid")
    # MOT's splits are no help: it is the crops that are missing.
    with pytest.raises(DataError, match=r"no MOT17 here: looked for .*/reid/imgs$"):
        read_crops(CONFIG, fake)
