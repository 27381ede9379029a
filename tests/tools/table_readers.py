"""The readers of MOTChallenge, of single-object benchmarks and of results: see ``fuzzing``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from fuzzing import Reader, mutated_bytes
from hypothesis import strategies as st
from PIL import Image

from halftrack.data.mot import read_mot
from halftrack.data.mot.crops.listed import listed_crops
from halftrack.data.mot.tables import read_detections, read_truth
from halftrack.data.sot import read_sot
from halftrack.data.sot.folders import listed_sequences
from halftrack.data.sot.folders import read_infos as read_listed
from halftrack.data.tables.seqinfo import MOST_FRAMES, read_seqinfo
from halftrack.data.tables.target_text import read_boxes, read_flags, read_names
from halftrack.evaluation import SequenceTruth, read_results, score_tracks, write_results
from halftrack.evaluation.sot_results import read_boxes as read_result_boxes

SIZE = (120, 160)
_TOKENS = [
    b"nan", b"inf", b"-1", b"-0", b"1e999", b"1e30", b"0x10", b"1_0", b",", b"\n", b"\r", b"\t",
    b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"9999999999", b"1.5", b"<html>", b"#", b'"', b"\x0c",
    b"\xc2\x85", b"\xd9\xa1", b"--", b"+", b"e", b"j",
]  # fmt: skip
_ROWS = [(f, i, 20 * i + f, 10 * i, 12 + i, 30) for f in range(1, 5) for i in (1, 2, 3)]


def _table(tail: str, *, ids: bool = True) -> bytes:
    rows = [",".join(map(str, (f, i if ids else -1, *box))) + tail for f, i, *box in _ROWS]
    return "\n".join(rows).encode()


_TRUTH = [_table(",1,1,1.0"), _table(",1,1,0.5,-1"), _table(",1,-1,-1,-1"), _table(",1")]
_FOUND = [_table(",0.9", ids=False), _table(",0.9,-1,-1,-1", ids=False)]
_RESULTS = [_table(",0.9,-1,-1,-1"), _table(",0.9"), b""]
SEQINFO = (
    b"[Sequence]\nname=a\nimDir=img1\nframeRate=25\nseqLength=4\nimWidth=160\nimHeight=120\n"
    b"imExt=.jpg\n"
)
_INI_TOKENS = [
    *_TOKENS, b"[", b"]", b"=", b":", b";", b"%(name)s", b"../", b"/etc", b"[DEFAULT]",
    b"seqLength", b"[Sequence]",
]  # fmt: skip
_BOXES = [
    "\n".join(separator.join(map(str, box[2:])) for box in _ROWS).encode()
    for separator in (",", "\t", " ")
]
with io.BytesIO() as _stream:
    Image.new("RGB", (160, 120)).save(_stream, "JPEG")
    _IMAGE = _stream.getvalue()
_INFOS = b"The format\na/img,a/groundtruth.txt,1,6\nb/img,b/groundtruth.txt,775,780\n"
_CORNERS = b"\n".join([b"1,1,9,1,9,7,1,7"] * 4)


def read_truth_table(content: bytes, folder: Path) -> None:
    (folder / "gt.txt").write_bytes(content)
    for benchmark in ("MOT17", "MOT15"):
        rows, odd = read_truth(folder / "gt.txt", 4, SIZE, benchmark)
        assert np.isfinite(rows.boxes_xyxy).all()
        assert (rows.boxes_ltwh[:, 2:] >= 0).all()
        assert ((rows.frame_numbers >= 1) & (rows.frame_numbers <= 4)).all()
        assert ((rows.classes >= 1) & (rows.classes <= 13)).all()
        assert ((rows.visibility >= 0) & (rows.visibility <= 1)).all()
        assert len(set(zip(rows.frame_numbers, rows.ids, strict=True))) == len(rows)
        assert all(count >= 0 for count in odd.values())


def read_detection_table(content: bytes, folder: Path) -> None:
    (folder / "det.txt").write_bytes(content)
    rows, _ = read_detections(folder / "det.txt", 4, SIZE)
    boxes = rows.boxes_xyxy.astype(np.float32).clip(0, [160, 120, 160, 120])
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert np.isfinite(rows.scores).all()


def read_ini(content: bytes, folder: Path) -> None:
    (folder / "seqinfo.ini").write_bytes(content)
    info = read_seqinfo(folder / "seqinfo.ini")
    assert info.num_frames is None or 1 <= info.num_frames <= MOST_FRAMES
    assert info.frame_rate is None or 0 < info.frame_rate < 1e6
    assert (folder / info.image_folder).resolve().is_relative_to(folder.resolve())


def read_sequence(content: bytes, folder: Path) -> None:
    sequence = folder / "MOT17" / "train" / "a"
    (sequence / "gt").mkdir(parents=True, exist_ok=True)
    (sequence / "seqinfo.ini").write_bytes(content)
    (sequence / "gt" / "gt.txt").write_bytes(_TRUTH[0])
    read_mot(folder, "half-val")


def read_result_table(content: bytes, folder: Path) -> None:
    (folder / "a.txt").write_bytes(content)
    rows = read_results(folder / "a.txt")
    write_results(folder / "b.txt", rows)
    again = read_results(folder / "b.txt")
    assert (again.ids == rows.ids).all()
    ids, frames = (np.array([row[column] for row in _ROWS]) for column in (1, 0))
    boxes = np.array([[x, y, x + w, y + h] for _, _, x, y, w, h in _ROWS], dtype=np.float64)
    ones = np.ones(len(ids), dtype=np.int64)
    truth = SequenceTruth(
        name="a", frames=4, frame_numbers=frames, ids=ids, boxes_xyxy=boxes, flags=ones,
        classes=ones, visibility=ones.astype(np.float64),
    )  # fmt: skip
    if len(rows) <= 12:  # A run of TrackEval takes 20 ms.
        scores = score_tracks([truth], {"a": rows}).flat()
        assert np.isfinite(list(scores.values())).all()


def read_target_boxes(content: bytes, folder: Path) -> None:
    (folder / "groundtruth.txt").write_bytes(content)
    for nan, polygons in ((True, False), (False, True)):
        boxes = read_boxes(folder / "groundtruth.txt", nan=nan, polygons=polygons)
        known = boxes[~np.isnan(boxes).all(axis=1)]
        assert np.isfinite(known).all()
        assert (known[:, 2:] >= known[:, :2]).all()


def read_target_flags(content: bytes, folder: Path) -> None:
    (folder / "absence.label").write_bytes(content)
    assert len(read_flags(folder / "absence.label", 4)) == 4


def read_list(content: bytes, folder: Path) -> None:
    (folder / "list.txt").write_bytes(content)
    for name in read_names(folder / "list.txt"):
        assert (folder / name).parent == folder


def read_crop_list(content: bytes, folder: Path) -> None:
    (folder / "train.txt").write_bytes(content)
    crops = listed_crops(folder / "train.txt", folder)
    paths = [crops.sequences[0].path(int(number)) for number in crops.frame_numbers]
    assert len(set(paths)) == len(crops) == len([crops.sample_id(n) for n in range(len(crops))])
    assert all(".." not in path.split("/") for path in paths)
    assert sorted(set(crops.labels.tolist())) == list(range(crops.num_identities))


def read_infos(content: bytes, folder: Path) -> None:
    (folder / "infos.txt").write_bytes(content)
    file = folder / "infos.txt"
    assert listed_sequences(file, folder, read_listed(file), (), []) == ()


def read_benchmark(content: bytes, folder: Path) -> None:
    sequence = folder / "VOT2018" / "a"
    if not sequence.exists():
        (sequence / "color").mkdir(parents=True)
        for number in range(1, 5):
            (sequence / "color" / f"{number:08d}.jpg").write_bytes(_IMAGE)
    (sequence / "groundtruth.txt").write_bytes(content)
    for each in read_sot(folder, "VOT2018"):
        assert len(each) == 4
        assert (each.first_box_xyxy[2:] > each.first_box_xyxy[:2]).all()


def read_box_results(content: bytes, folder: Path) -> None:
    (folder / "a.txt").write_bytes(content)
    assert np.isfinite(read_result_boxes(folder / "a.txt")).all()


def _bytes(*starts: bytes) -> st.SearchStrategy[bytes]:
    return mutated_bytes(starts, _TOKENS)


READERS = [
    Reader("gt.txt", _bytes(*_TRUTH), read_truth_table),
    Reader("det.txt", _bytes(*_FOUND), read_detection_table),
    Reader("seqinfo.ini", mutated_bytes([SEQINFO], _INI_TOKENS), read_ini),
    Reader("MOT sequence", mutated_bytes([SEQINFO], _INI_TOKENS), read_sequence),
    Reader("MOT results", _bytes(*_RESULTS), read_result_table, slow=10),
    Reader("boxes of a target", _bytes(*_BOXES, _CORNERS), read_target_boxes),
    Reader("flags of a target", _bytes(b"0,0,1,0", b"0\n0\n1\n0"), read_target_flags),
    Reader("list of sequences", _bytes(b"car-1\ncar-2\ndog-1\n"), read_list),
    Reader("list of crops", _bytes(b"a/0.jpg 0\na/1.jpg 0\nb/0.jpg 1\n"), read_crop_list),
    Reader("infos of sequences", _bytes(_INFOS), read_infos),
    Reader("VOT sequence", _bytes(_CORNERS, b"\n".join([b"1,2,3,4"] * 4)), read_benchmark),
    Reader("SOT results", _bytes(*_BOXES), read_box_results),
]
