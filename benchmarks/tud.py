"""A known pair: TUD-Campus and TUD-Stadtmitte with one tracker's results, scored with TrackEval.

    python benchmarks/tud.py DATA_ROOT

DATA_ROOT holds ``<sequence>/{gt/gt.txt,seqinfo.ini}`` and ``results/<sequence>.txt``. The truth has
MOT15's columns: no classes, so no pre-processing.
"""

from __future__ import annotations

import argparse
import configparser
import platform
from pathlib import Path

import numpy as np
import trackeval
from rich.console import Console

from halftrack.evaluation import SequenceTruth, read_result_folder, score_tracks
from halftrack.report import render_table

SEQUENCES = ("TUD-Campus", "TUD-Stadtmitte")
KNOWN = {"mota": 0.555, "idf1": 0.624, "idp": 0.799, "idsw": 14, "hota": 0.400}


def read_truth(folder: Path) -> SequenceTruth:
    """A MOT15 sequence: frame, id, left, top, width, height, flag, x, y, z."""
    info = configparser.ConfigParser()
    info.read(folder / "seqinfo.ini")
    table = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",")
    return SequenceTruth(
        name=folder.name,
        frames=info.getint("Sequence", "seqLength"),
        frame_numbers=table[:, 0].astype(np.int64),
        ids=table[:, 1].astype(np.int64),
        boxes_xyxy=np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1),
        flags=table[:, 6].astype(np.int64),
        classes=np.ones(len(table), dtype=np.int64),
        visibility=np.ones(len(table)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_root", type=Path)
    args = parser.parse_args()
    truths = [read_truth(args.data_root / name) for name in SEQUENCES]
    results = read_result_folder(args.data_root / "results", SEQUENCES).results
    scored = score_tracks(truths, results, benchmark="MOT15")
    for benchmark, preprocess in (("MOT17", True), ("MOT17", False)):
        other = score_tracks(truths, results, benchmark=benchmark, preprocess=preprocess)
        if other != scored:
            print(f"{benchmark} with preprocess={preprocess} differs: {other.combined}")
    Console(width=170).print(render_table(scored.rows()))
    found = scored.flat()
    for name, known in KNOWN.items():
        verdict = "as known" if round(found[name], 3) == known else "DIFFERS"
        print(f"{name} {found[name]:.4f}, known {known}: {verdict}")
    print(f"trackeval {trackeval.__version__}, numpy {np.__version__}, {platform.python_version()}")


if __name__ == "__main__":
    main()
