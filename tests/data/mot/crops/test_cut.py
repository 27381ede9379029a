"""Crops of people: which boxes make one, and which individuals are kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from halftrack.data import DataError
from halftrack.data.mot import ReIDDataConfig, read_crops
from halftrack.data.mot.crops.cut import crops_of, find_identities
from halftrack.data.mot.mot_challenge import read_mot


def test_half_train_holds_no_frame_of_half_val(films: Path, config: ReIDDataConfig) -> None:
    training, validation = read_crops(config, films), read_crops(config, films, validation=True)
    assert training.frame_numbers.max() == 6 < validation.frame_numbers.min() == 7
    assert training.num_identities > 3
    assert validation.labels.max() == validation.num_identities - 1
    leaky = replace(config, split="whole-train")
    parts = read_crops(leaky, films), read_crops(leaky, films, validation=True)
    assert not set(parts[0].names) & set(parts[1].names)
    assert parts[0].frame_numbers.max() == 10


def test_crops_are_cut_at_whole_pixels_inside_the_image(films: Path) -> None:
    file = sorted((films / "MOT17/train").iterdir())[0] / "gt/gt.txt"
    rows = ["1,4,-3.5,10.9,20.2,30.3,1,1,1", "2,4,100,60,30,30,1,1,0.3", "3,4,1,1,9,9,1,1,0.29"]
    file.write_text("\n".join(rows))
    (identity, *_) = find_identities(read_mot(films, "train"), min_visibility=0.3)
    assert identity.edges_xyxy.tolist() == [[0, 10, 16, 41], [100, 60, 119, 71]]


def test_individuals_with_too_many_crops_keep_some_drawn_once(films: Path) -> None:
    sequences = read_mot(films, "train")
    identities = find_identities(sequences, min_visibility=0.3)
    first, second = (crops_of(sequences, identities, min_crops=2, max_crops=3) for _ in range(2))
    assert max(Counter(first.labels.tolist()).values()) == 3
    assert first.frame_numbers.tolist() == second.frame_numbers.tolist()


def test_no_individual_with_crops_enough_is_an_error_that_says_so(
    films: Path, config: ReIDDataConfig
) -> None:
    with pytest.raises(DataError, match=r"no individual with min_crops=11 .* for training"):
        read_crops(replace(config, min_crops=11), films)


def test_crops_for_validation_of_which_none_shows_anybody_twice_are_refused(
    films: Path, config: ReIDDataConfig
) -> None:
    single = replace(config, min_crops=1, max_crops=1)
    read_crops(single, films)
    with pytest.raises(DataError, match=r"each of the \d+ crops .*min_crops=1, max_crops=1"):
        read_crops(single, films, validation=True)
