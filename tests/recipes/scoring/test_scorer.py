"""Any number of processes find what one finds, in every file to the last byte."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from processes import in_processes

from halftrack.data import Problem, SkipLedger
from halftrack.layers import one_thread
from halftrack.recipes import load_recipe, override
from halftrack.recipes.scoring.scorer import Skips, shares
from halftrack.synthetic import SyntheticVideo, write_synthetic
from halftrack.training.ranks import together

CPU = torch.device("cpu")
LAYOUTS = {
    "selsa": "vid",
    "faster-rcnn": "mot",
    "reid": "mot",
    "tracktor": "mot",
    "siamese_rpn": "sot",
}
# Scores of random weights are low, and nobody has counted their individuals.
FIELDS = {
    "reid": ["model.num_identities=5"],
    "tracktor": [
        "reid.num_identities=5",
        "tracker.detection_score=0.1",
        "tracker.regression_score=0.1",
    ],
}


def test_the_longest_videos_go_first_and_to_whoever_has_least() -> None:
    assert shares([10, 30, 20, 5], 2) == [[1, 3], [0, 2]]
    assert shares([7, 7, 7], 3) == [[0], [1], [2]]
    assert shares([1, 2], 4) == [[1], [0], [], []]
    assert shares([], 2) == [[], []]
    assert shares([4, 9], 1) == [[0, 1]]


def test_what_each_video_left_out_adds_up_beside_what_was_found_at_the_start() -> None:
    ledger = SkipLedger()
    ledger.add(Problem("index", "is torn"))
    skips = Skips(ledger)
    with skips.of_video() as first:
        ledger.add(Problem("a.jpg", "is torn"))
        ledger.add(Problem("index", "is torn"))
    with skips.of_video() as second:
        pass
    assert first == Counter({Problem("a.jpg", "is torn"): 1, Problem("index", "is torn"): 1})
    assert second == Counter()
    assert skips.lines([first, second])[0] == "skipped 3 times because of 2 problems:"
    assert Skips(SkipLedger()).lines([]) == ()


@pytest.fixture(scope="module")
def data_roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        layout: write_synthetic(
            tmp_path_factory.mktemp(layout),
            SyntheticVideo(layout=layout, train_videos=1, val_videos=2, frames=8),
        )
        for layout in ("vid", "mot", "sot")
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_processes_find_what_one_finds(
    data_roots: dict[str, Path], tmp_path: Path, name: str
) -> None:
    recipe = override(load_recipe(f"{name}_tiny_sample"), FIELDS.get(name, []))
    data_root = data_roots[LAYOUTS[name]]
    model = recipe.build_model(seed=1).eval()

    def files(processes: int) -> dict[str, bytes]:
        with together(CPU) as ranks, one_thread():
            evaluation = recipe.scorer(data_root, CPU).shared(model, ranks)
            folder = tmp_path / f"{processes}_{ranks.rank}"
            folder.mkdir()
            for sequence, write in evaluation.result_writers().items():
                write(folder / f"{sequence}.txt")
            found = {path.name: path.read_bytes() for path in folder.iterdir()}
            found["numbers"] = json.dumps(evaluation.numbers(), default=str).encode()
            found["frames"] = str((evaluation.frames, evaluation.skipped)).encode()
            for each in getattr(evaluation, "detections", ()):
                tensors = (each.boxes_xyxy, each.scores, each.labels)
                found["detections"] = found.get("detections", b"") + b"".join(
                    tensor.numpy().tobytes() for tensor in tensors
                )
            return found

    alone = files(1)
    assert len(alone["numbers"]) > 20
    assert all(text for file, text in alone.items() if file.endswith(".txt"))
    for count in (2, 3):  # of two videos
        assert in_processes(count, lambda count=count: files(count)) == [alone] * count
