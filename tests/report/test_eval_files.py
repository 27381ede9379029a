"""Whatever is measured lies on disk, and what an earlier run left there is named."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args
from zipfile import ZipFile

import numpy as np
import pytest

from halftrack.evaluation import OpeRule, TargetTruth, read_boxes, score_ope
from halftrack.recipes import SingleObjectEvaluation, SingleObjectRecipe, load_recipe
from halftrack.report.eval_files import write_evaluation

BOXES = np.asarray([[100.0, 100, 140, 120]] * 3)
ROW = {"Method": "SiamRPN++"}
PICTURES = ["success.png", "precision.png", "norm_precision.png"]


def followed(
    *, scored: bool = True, attributes: tuple[str, ...] = (), first: OpeRule = "mmtracking"
) -> SingleObjectEvaluation:
    """Two sequences, one followed and one lost after its first frame."""
    rules = sorted(get_args(OpeRule), key=lambda rule: rule != first) if scored else ()
    lost = np.concatenate([BOXES[:1], BOXES[1:] + 500])
    results = {"car-1": BOXES, "cat-2": lost}
    truths = [
        TargetTruth(
            name=name,
            boxes_xyxy=BOXES,
            absent=np.zeros(3, np.bool_),
            attributes=frozenset(attributes),
        )
        for name in results
    ]
    return SingleObjectEvaluation(
        metrics={rule: score_ope(truths, results, rule=rule) for rule in rules},
        results=results,
        frame_seconds={name: np.full(3, 0.25) for name in results},
        frames=6,
        seconds=1.5,
    )


def recipe(**fields: str) -> SingleObjectRecipe:
    chosen = load_recipe("siamese_rpn_r50_20e_lasot")
    assert isinstance(chosen, SingleObjectRecipe)
    return replace(chosen, **fields)


def test_a_trackers_numbers_tables_curves_and_boxes_are_written(tmp_path: Path) -> None:
    evaluation = followed(attributes=("SV",))
    lines = write_evaluation(tmp_path / "new", recipe(), evaluation, row=ROW, arithmetic="fp32")
    out = tmp_path / "new"
    files = ["eval.json", "eval.csv", "sequences.csv", "attributes.csv", *PICTURES]
    assert lines == [
        f"written to {out}: {', '.join(files)}",
        f"tracks in {out / 'results'}, one file a sequence",
    ]
    assert sorted(each.name for each in out.iterdir()) == sorted([*files, "results"])
    numbers = json.loads((out / "eval.json").read_text(), parse_constant=pytest.fail)
    assert numbers["arithmetic"] == "fp32"
    assert numbers["rule"] == "mmtracking"
    assert numbers["mean"]["precision"] == pytest.approx(100 * 2 / 3)
    assert numbers["official"] == numbers["mean"]
    assert numbers["by_sequence"]["car-1"]["precision"] == 100
    assert numbers["by_attribute"]["SV"] == numbers["mean"]
    success = numbers["success_curve"]["percent"]
    assert np.mean(success) == pytest.approx(numbers["mean"]["success"])
    with (out / "sequences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["Sequence"] for row in rows] == ["car-1", "cat-2", "MEAN"]
    assert rows[0]["Success"] == "95.2"
    assert (out / "attributes.csv").read_text().splitlines()[1].startswith("SV,2,")
    for name, boxes_xyxy in evaluation.results.items():
        np.testing.assert_array_equal(read_boxes(out / "results" / f"{name}.txt"), boxes_xyxy)


def test_scored_files_are_not_written_again_and_name_the_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[str] = []
    monkeypatch.setattr(
        "halftrack.report.eval_files.plot_ope_curves",
        lambda _folder, trackers, *, title: labels.extend([*trackers, title]),
    )
    official = recipe(rule="official")
    (line,) = write_evaluation(
        tmp_path, official, followed(first="official"), row=ROW, scored=Path("theirs")
    )
    assert line.startswith("written to")
    assert labels == ["theirs", "LaSOT test, rule official"]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("benchmark", "members", "server"),
    [
        ("TrackingNet", {"car-1.txt", "cat-2.txt"}, 511),
        (
            "GOT-10k",
            {
                f"{name}/{name}_{part}.txt"
                for name in ("car-1", "cat-2")
                for part in ("001", "time")
            },
            180,
        ),
    ],
)
def test_a_split_that_a_server_scores_gives_its_package_and_no_scores(
    benchmark: str, members: set[str], server: int, tmp_path: Path
) -> None:
    chosen = recipe(benchmark=benchmark)
    lines = write_evaluation(tmp_path, chosen, followed(scored=False), row=ROW)
    file = tmp_path / f"{benchmark}_test.zip"
    assert lines == [
        f"written to {tmp_path}: eval.json, eval.csv",
        f"tracks in {tmp_path / 'results'}, one file a sequence",
        f"{file} has 2 sequences, {benchmark}'s server scores {server}",
    ]
    assert json.loads((tmp_path / "eval.json").read_text()) == {}
    with ZipFile(file) as package:
        assert set(package.namelist()) == members


def test_a_whole_package_is_said_to_be_ready(tmp_path: Path) -> None:
    tracks = {f"v{number}": BOXES for number in range(511)}
    evaluation = replace(followed(scored=False), results=tracks)
    lines = write_evaluation(tmp_path, recipe(benchmark="TrackingNet"), evaluation, row=ROW)
    assert lines[-1] == f"{tmp_path / 'TrackingNet_test.zip'} is ready for TrackingNet's server"


@pytest.mark.parametrize(
    "fields", [{"benchmark": "GOT-10k", "split": "val"}, {"benchmark": "OTB100"}]
)
def test_a_split_that_no_server_scores_gives_no_package(
    fields: dict[str, str], tmp_path: Path
) -> None:
    write_evaluation(tmp_path, recipe(**fields), followed(), row=ROW)
    assert not list(tmp_path.glob("*.zip"))


def test_what_another_run_left_is_named(tmp_path: Path) -> None:
    write_evaluation(tmp_path, recipe(), followed(attributes=("SV",)), row=ROW)
    (tmp_path / "results/dog-3.txt").touch()
    again = write_evaluation(tmp_path, recipe(), followed(), row=ROW)
    left = [line for line in again if "another run" in line]
    assert left == [
        "still there from another run: attributes.csv",
        "still there from another run: dog-3",
    ]
    unscored = write_evaluation(tmp_path, recipe(), followed(scored=False), row=ROW)
    left = ", ".join(("sequences.csv", "attributes.csv", *PICTURES))
    assert f"still there from another run: {left}" in unscored[1]
