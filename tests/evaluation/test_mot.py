from __future__ import annotations

import json
import math
import os
import site
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trackeval
from hypothesis import given, settings
from hypothesis import strategies as st

from halftrack.evaluation import SequenceTruth, TrackRows, mot, read_results, score_tracks

GOLDEN = Path(__file__).parent.parent / "golden"
PEDESTRIAN, CAR, OTHER_VEHICLE, DISTRACTOR = 1, 3, 6, 8
ALL = range(1, 11)


def box(place: int) -> list[float]:
    return [100.0 * place, 50.0, 100.0 * place + 20, 90.0]


def truth(objects: dict[int, range], *, name="S", frames=10, flags=None, classes=None):
    """An object at each place during some frames; flags and classes by place."""
    rows = [(frame, place) for place, span in objects.items() for frame in span]
    return SequenceTruth(
        name=name,
        frames=frames,
        frame_numbers=np.asarray([frame for frame, _ in rows], np.int64),
        ids=np.asarray([place for _, place in rows], np.int64),
        boxes_xyxy=np.asarray([box(place) for _, place in rows]).reshape(-1, 4),
        flags=np.asarray([(flags or {}).get(place, 1) for _, place in rows], np.int64),
        classes=np.asarray([(classes or {}).get(place, PEDESTRIAN) for _, place in rows], np.int64),
        visibility=np.ones(len(rows)),
    )


def tracks(*parts: tuple[int, int, range]) -> TrackRows:
    """Each part: a track's id, the place it is at and the frames it is there."""
    rows = [(frame, track, box(place)) for track, place, span in parts for frame in span]
    return TrackRows(
        frame_numbers=np.asarray([row[0] for row in rows], np.int64),
        ids=np.asarray([row[1] for row in rows], np.int64),
        boxes_xyxy=np.asarray([row[2] for row in rows], np.float64).reshape(-1, 4),
        scores=np.full(len(rows), 0.9),
    )


def scored(objects, *parts, **options):
    return score_tracks([truth(objects)], {"S": tracks(*parts)}, **options).combined


ONE, TWO = {1: ALL}, {1: ALL, 2: ALL}
EARLY, LATE = range(1, 6), range(6, 11)
STORIES = {
    "followed throughout": (ONE, [(7, 1, ALL)], {"mota": 1, "idf1": 1, "hota": 1, "mt": 1}),
    "handed to another track halfway": (
        ONE,
        [(7, 1, EARLY), (8, 1, LATE)],
        {"mota": 0.9, "idf1": 0.5, "idsw": 1, "frag": 0, "mt": 1},
    ),
    "two tracks swap their objects": (
        TWO,
        [(7, 1, EARLY), (8, 2, EARLY), (8, 1, LATE), (7, 2, LATE)],
        {"mota": 0.9, "idf1": 0.5, "idsw": 2, "frag": 0, "mt": 2},
    ),
    "lost and found under its id, followed for 80%: only partly tracked": (
        TWO,
        [(7, 1, range(1, 5)), (7, 1, range(7, 11)), (8, 2, ALL)],
        {"mota": 0.9, "idf1": 36 / 38, "idsw": 0, "frag": 1, "fn": 2, "mt": 1, "pt": 1},
    ),
    "lost and found under another id": (
        TWO,
        [(7, 1, range(1, 5)), (9, 1, range(7, 11)), (8, 2, ALL)],
        {"mota": 0.85, "idf1": 28 / 38, "idsw": 1, "frag": 1, "fn": 2},
    ),
    "a frame without any result interrupts nothing, in TrackEval": (
        ONE,
        [(7, 1, range(1, 5)), (7, 1, range(7, 11))],
        {"mota": 0.8, "frag": 0, "fn": 2},
    ),
    "a false alarm in every frame": (
        ONE,
        [(7, 1, ALL), (8, 5, ALL)],
        {"mota": 0, "idf1": 20 / 30, "idp": 0.5, "idr": 1, "fp": 10, "precision": 0.5},
    ),
    "seen once": (ONE, [(7, 1, range(1, 2))], {"mota": 0.1, "fn": 9, "recall": 0.1, "ml": 1}),
    "two objects, one never found": (
        TWO,
        [(7, 1, ALL)],
        {"mota": 0.5, "idf1": 20 / 30, "mt": 1, "ml": 1, "fn": 10, "gt_dets": 20},
    ),
    "nothing found": (
        ONE,
        [],
        {"mota": 0, "motp": 0, "idf1": 0, "hota": 0, "fn": 10, "ml": 1, "gt_dets": 10},
    ),
}


@pytest.mark.parametrize(("objects", "parts", "expected"), STORIES.values(), ids=STORIES.keys())
def test_small_stories(objects, parts, expected):
    flat = scored(objects, *parts).flat()
    assert {name: flat[name] for name in expected} == pytest.approx(expected)
    assert all(math.isfinite(value) for value in flat.values())


def test_a_result_on_a_distractor_is_removed_and_elsewhere_a_false_positive():
    seen = {"S": tracks((7, 1, ALL), (8, 2, ALL))}
    for kind, wrong in ((DISTRACTOR, 0), (CAR, 10), (OTHER_VEHICLE, 10)):
        scene = truth(TWO, flags={2: 0}, classes={2: kind})
        assert score_tracks([scene], seen).combined.fp == wrong, kind
        assert score_tracks([scene], seen, preprocess=False).combined.fp == 10, kind
    crowded = truth(TWO, flags={2: 0}, classes={2: OTHER_VEHICLE})
    assert score_tracks([crowded], seen, benchmark="MOT20").combined.fp == 0


def test_rows_with_flag_0_are_not_to_be_found():
    metrics = score_tracks([truth(TWO, flags={2: 0})], {"S": tracks((7, 1, ALL))}).combined
    assert (metrics.fn, metrics.gt_dets, metrics.mota) == (0, 10, 1.0)


def test_without_preprocessing_every_class_with_a_flag_counts():
    scene = truth(TWO, classes={2: CAR})
    assert score_tracks([scene], {"S": tracks()}).combined.gt_dets == 10
    assert score_tracks([scene], {"S": tracks()}, preprocess=False).combined.gt_dets == 20


def test_mot15_has_no_classes():
    scene = truth(TWO, classes={1: -1, 2: DISTRACTOR})
    metrics = score_tracks([scene], {"S": tracks((7, 1, ALL))}, benchmark="MOT15").combined
    assert (metrics.gt_dets, metrics.fn, metrics.fp) == (20, 10, 0)


def test_visibility_is_not_looked_at():
    hidden = replace(truth(ONE), visibility=np.zeros(10))
    assert score_tracks([hidden], {"S": tracks((7, 1, ALL))}).combined.mota == 1.0


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The half-val truths of the fake MOT17 tree, MMTracking's result files and all scores."""
    recorded = json.loads((GOLDEN / "evaluation" / "mot.json").read_text())
    truths, results = [], {}
    with tarfile.open(GOLDEN / "fake_data.tar.gz") as archive:
        for name in (key for key in recorded["trackeval"] if key != "COMBINED_SEQ"):
            member = archive.extractfile(f"fake_data/MOT17/train/{name}/gt/gt_half-val.txt")
            table = np.loadtxt(member, delimiter=",")
            truths.append(
                SequenceTruth(
                    name=name,
                    frames=int(table[:, 0].max()),
                    first_frame=int(table[:, 0].min()),
                    frame_numbers=table[:, 0].astype(np.int64),
                    ids=table[:, 1].astype(np.int64),
                    boxes_xyxy=np.hstack([table[:, 2:4], table[:, 2:4] + table[:, 4:6]]),
                    flags=table[:, 6].astype(np.int64),
                    classes=table[:, 7].astype(np.int64),
                    visibility=table[:, 8],
                )
            )
            path = tmp_path_factory.mktemp("golden") / f"{name}.txt"
            path.write_text(recorded["mot_result_files"][path.name])
            results[name] = read_results(path)
    return truths, results, recorded


def test_equals_trackeval_on_the_golden_tracks(golden):
    truths, results, recorded = golden
    metrics = score_tracks(truths, results)
    for name, got in {**metrics.by_sequence, "COMBINED_SEQ": metrics.combined}.items():
        families = recorded["trackeval"][name]
        clear, identity, hota = families["CLEAR"], families["Identity"], families["HOTA"]
        counts = (got.fp, got.fn, got.idsw, got.mt, got.pt, got.ml, got.frag)
        assert counts == tuple(
            clear[key] for key in ("CLR_FP", "CLR_FN", "IDSW", "MT", "PT", "ML", "Frag")
        )
        ratios = (got.mota, got.recall, got.precision, got.idf1, got.idp, got.idr)
        wanted = [clear[key] for key in ("MOTA", "CLR_Re", "CLR_Pr")]
        wanted += [identity[key] for key in ("IDF1", "IDP", "IDR")]
        assert ratios == pytest.approx(wanted, abs=1e-12)
        means = (got.hota, got.deta, got.assa, got.loca, got.motp)
        wanted = [*(hota[key] for key in ("HOTA", "DetA", "AssA", "LocA")), clear["MOTP"]]
        assert means == pytest.approx(wanted, abs=1e-12)


def test_differs_from_mmtracking_on_the_golden_tracks_only_as_documented(golden):
    truths, results, recorded = golden
    got, theirs = score_tracks(truths, results).combined, recorded["mot_half_val_eval"]
    assert (got.fp, got.fn, got.idsw, got.frag) == tuple(
        theirs[key] for key in ("FP", "FN", "IDs", "FM")
    )
    shared = {"MOTA": got.mota, "IDF1": got.idf1, "IDP": got.idp, "IDR": got.idr}
    shared |= {"HOTA": got.hota, "Rcll": got.recall, "Prcn": got.precision}
    for key, value in shared.items():
        assert value == pytest.approx(theirs[key], abs=6e-4), key
    assert 1 - got.motp == pytest.approx(theirs["MOTP"], abs=6e-4)
    assert (got.mt, got.pt, theirs["MT"], theirs["PT"]) == (5, 4, 6, 3)


def test_empty_frames_before_the_evaluated_part_change_nothing(golden):
    truths, results, _ = golden
    moved, moved_results = [], {}
    for each in truths:
        shift = each.first_frame - 1
        rows = results[each.name]
        moved.append(
            replace(
                each,
                frames=each.frames - shift,
                first_frame=1,
                frame_numbers=each.frame_numbers - shift,
            )
        )
        moved_results[each.name] = replace(rows, frame_numbers=rows.frame_numbers - shift)
    assert score_tracks(moved, moved_results) == score_tracks(truths, results)


def random_sequence(seed: int) -> tuple[SequenceTruth, TrackRows]:
    rng = np.random.default_rng(seed)
    scene = truth({1: ALL, 2: range(3, 9), 3: EARLY}, flags={3: int(seed % 2)})
    keep = rng.uniform(size=len(scene.ids)) < 0.8
    ids = scene.ids[keep] + 3 * (rng.uniform(size=int(keep.sum())) < 0.2)
    noisy = scene.boxes_xyxy[keep] + rng.normal(0, 2, (int(keep.sum()), 4))
    rows = TrackRows(
        frame_numbers=scene.frame_numbers[keep],
        ids=ids,
        boxes_xyxy=noisy,
        scores=rng.uniform(size=len(ids)),
    )
    return scene, rows


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_neither_the_order_of_rows_nor_the_names_of_ids_matter(seed):
    scene, rows = random_sequence(seed)
    metrics = score_tracks([scene], {"S": rows})
    rng = np.random.default_rng(seed)
    new_names = rng.permutation(7) * 10**12 - 3 * 10**12
    order = rng.permutation(len(rows))
    shuffled = TrackRows(
        frame_numbers=rows.frame_numbers[order],
        ids=new_names[rows.ids[order]],
        boxes_xyxy=rows.boxes_xyxy[order],
        scores=rows.scores[order] - 5,
    )
    order = rng.permutation(len(scene.ids))
    columns = ("frame_numbers", "boxes_xyxy", "flags", "classes", "visibility")
    renamed = replace(
        scene,
        ids=new_names[scene.ids[order]],
        **{name: getattr(scene, name)[order] for name in columns},
    )
    assert score_tracks([renamed], {"S": shuffled}).flat() == pytest.approx(metrics.flat())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_counts_add_up_and_the_whole_is_the_sum_of_the_sequences(seed):
    sequences = [random_sequence(seed + k) for k in range(3)]
    truths = [replace(scene, name=f"S{k}") for k, (scene, _) in enumerate(sequences)]
    results = {f"S{k}": rows for k, (_, rows) in enumerate(sequences)}
    metrics = score_tracks(truths, results)
    whole = metrics.combined
    assert whole.mota == pytest.approx(1 - (whole.fp + whole.fn + whole.idsw) / whole.gt_dets)
    for name in ("fp", "fn", "idsw", "mt", "pt", "ml", "frag", "gt_dets"):
        parts = [getattr(each, name) for each in metrics.by_sequence.values()]
        assert getattr(whole, name) == sum(parts), name
    assert list(metrics.by_sequence) == ["S0", "S1", "S2"]


def test_trackeval_reads_the_very_numbers_of_the_file(tmp_path):
    recorded = json.loads((GOLDEN / "evaluation" / "mot.json").read_text())["mot_result_files"]
    theirs, ours = tmp_path / "theirs.txt", tmp_path / "ours.txt"
    theirs.write_text(recorded["MOT17-02-FRCNN.txt"])
    mot._write_rows(ours, read_results(theirs))
    tables = [np.loadtxt(path, delimiter=",") for path in (ours, theirs)]
    kept = [0, *range(2, 10)]  # all but the ids
    assert np.array_equal(tables[0][:, kept], tables[1][:, kept])


def test_rows_are_a_table_in_percent_under_mot_challenges_names():
    results = {"A/1": tracks((7, 1, ALL)), "COMBINED_SEQ": tracks((7, 1, range(1, 4)))}
    metrics = score_tracks([truth(ONE, name=name) for name in results], results)
    rows = metrics.rows()
    assert [row["Sequence"] for row in rows] == ["A/1", "COMBINED_SEQ", "COMBINED"]
    assert [row["MOTA"] for row in rows] == [100.0, 30.0, 65.0]
    assert [row["Rcll"] for row in rows] == [100.0, 30.0, 65.0]
    assert [(row["FN"], row["GT_Dets"]) for row in rows] == [(0, 10), (7, 10), (7, 20)]
    assert rows[2]["IDF1"] == round(100 * metrics.combined.idf1, 1)
    assert list(metrics.flat())[:3] == ["mota", "motp", "idf1"]


def test_nothing_is_printed_and_nothing_is_left_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail(*_: object) -> None:
        raise trackeval.utils.TrackEvalException("made to fail")

    def installed() -> list[str]:
        kit = Path(trackeval.__file__).parent
        return sorted([*os.listdir(kit), *os.listdir(kit.parent), *site.getsitepackages()])

    before = installed()
    score_tracks([truth(ONE)], {"S": tracks((7, 1, ALL))})
    monkeypatch.setattr(trackeval.metrics.CLEAR, "eval_sequence", fail)
    with pytest.raises(ValueError, match="TrackEval cannot score this: made to fail"):
        score_tracks([truth(ONE)], {"S": tracks((7, 1, ALL))})
    assert list(tmp_path.iterdir()) == []
    assert installed() == before
    assert capfd.readouterr() == ("", "")


def spoilt(rows: TrackRows, *, row: int, **values) -> TrackRows:
    columns = {}
    for name, value in values.items():
        columns[name] = getattr(rows, name).copy()
        columns[name][row] = value
    return replace(rows, **columns)


SEEN = tracks((7, 1, ALL), (8, 2, ALL))
NAN_BOX = [1.0, float("nan"), 2.0, 3.0]
ERRORS = {
    "no truth": ([], {}, "no ground truth, expected that of at least one sequence"),
    "a sequence without a result": (
        [truth(ONE, name="S"), truth(ONE, name="T")],
        {"S": SEEN},
        "no result of T; there are results of S",
    ),
    "a result without truth": (
        [truth(ONE)],
        {"S": SEEN, "U": SEEN},
        "result of U without ground truth, allowed are S",
    ),
    "a sequence given twice": ([truth(ONE)] * 2, {"S": SEEN}, "ground truth of S given more"),
    "an id twice in a frame": (
        [truth(ONE)],
        {"S": spoilt(SEEN, row=13, ids=7)},
        r"result of 'S' row 13 \(frame 4, id 7\) is not the first of this id in this frame",
    ),
    "a NaN box": (
        [truth(ONE)],
        {"S": spoilt(SEEN, row=2, boxes_xyxy=NAN_BOX)},
        r"result of 'S' row 2 \(frame 3, id 7\) has the box \[1.0, nan, 2.0, 3.0\], allowed are",
    ),
    "a box inside out": (
        [truth(ONE)],
        {"S": spoilt(SEEN, row=2, boxes_xyxy=[5, 5, 4, 9])},
        r"row 2 .* has the box \[5.0, 5.0, 4.0, 9.0\], allowed are finite numbers x1 <= x2",
    ),
    "a NaN score": (
        [truth(ONE)],
        {"S": spoilt(SEEN, row=2, scores=float("nan"))},
        r"row 2 \(frame 3, id 7\) has score nan, allowed are finite numbers",
    ),
    "frame 0": (
        [truth(ONE)],
        {"S": spoilt(SEEN, row=0, frame_numbers=0)},
        r"row 0 \(frame 0, id 7\) is in no frame there is, allowed are 1 to 10",
    ),
    "a frame after the end": (
        [truth(ONE)],
        {"S": spoilt(SEEN, row=9, frame_numbers=11)},
        r"row 9 \(frame 11, id 7\) is in no frame there is, allowed are 1 to 10",
    ),
    "a result on the half that is not evaluated": (
        [replace(truth({1: LATE}), first_frame=6)],
        {"S": SEEN},
        r"row 0 \(frame 1, id 7\) is in no frame there is, allowed are 6 to 10",
    ),
    "an evaluated part beyond the end": (
        [replace(truth(ONE), first_frame=11)],
        {"S": SEEN},
        "'S' has first_frame 11 and 10 frames, allowed is 1 <= first_frame <= frames",
    ),
    "ids that are not integers": (
        [truth(ONE)],
        {"S": replace(SEEN, ids=SEEN.ids.astype(np.float64))},
        "result of 'S': ids are float64, expected integers",
    ),
    "boxes of another shape": (
        [truth(ONE)],
        {"S": replace(SEEN, boxes_xyxy=np.ones((20, 5)))},
        r"result of 'S': boxes_xyxy has shape \(20, 5\), expected \(n, 4\)",
    ),
    "a column of another length": (
        [replace(truth(ONE), flags=np.ones(3, np.int64))],
        {"S": SEEN},
        r"ground truth of 'S': flags has shape \(3,\), expected \(10,\)",
    ),
    "truth that counts nowhere": (
        [truth(ONE, flags={1: 0})],
        {"S": SEEN},
        r"ground truth of 'S': none of its 10 rows counts, expected a pedestrian \(class 1\)",
    ),
    "truth without pedestrians": (
        [truth(ONE, classes={1: CAR})],
        {"S": SEEN},
        "ground truth of 'S': none of its 10 rows counts, expected a pedestrian",
    ),
    "truth without rows": ([truth({})], {"S": SEEN}, "none of its 0 rows counts"),
    "an unknown class": (
        [truth(ONE, classes={1: 14})],
        {"S": SEEN},
        "ground truth of 'S' row 0 has class 14, allowed are 1 to 13",
    ),
}


@pytest.mark.parametrize(("truths", "results", "told"), ERRORS.values(), ids=ERRORS.keys())
def test_what_cannot_be_scored_is_told(truths, results, told):
    with pytest.raises(ValueError, match=told):
        score_tracks(truths, results)


def test_an_unknown_benchmark_is_told():
    with pytest.raises(ValueError, match="'MOT99', allowed are MOT15, MOT16, MOT17, MOT20"):
        score_tracks([truth(ONE)], {"S": SEEN}, benchmark="MOT99")


MANY = 100_000
HUGE = {
    "an id for each box": (np.ones(MANY, np.int64), np.arange(MANY)),
    "ids that are used a few times": (np.ones(MANY, np.int64), np.arange(MANY) % 20_000),
}


@pytest.mark.parametrize("story", HUGE)
def test_memory_is_refused_before_it_is_taken(story):
    frames, ids = HUGE[story]
    with pytest.raises(ValueError, match=r"scoring takes [0-9]+ GiB, allowed are 4; has each box"):
        mot._check_memory(
            "result of 'S'",
            truth(TWO),
            TrackRows(
                frame_numbers=frames,
                ids=ids,
                boxes_xyxy=np.zeros((0, 4)),
                scores=np.zeros(0),
            ),
        )
