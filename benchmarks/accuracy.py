"""Does half precision cost accuracy? Paired seeds of the tiny SELSA in fp32, bf16 and fp16.

    python benchmarks/accuracy.py --out runs/accuracy [--seeds 5] [--jobs 2]

Runs of one seed share weights, order of clips and every random draw; they differ in arithmetic
alone. Finished runs are kept, so an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import machine

from halftrack.synthetic import SyntheticVideo, write_synthetic

PRECISIONS = ("fp32", "bf16", "fp16")
RECIPE = "selsa_tiny_sample"


def finished(out: Path) -> dict[str, float] | None:
    """The last evaluation of a run and its skipped steps, None if it has not ended."""
    log = out / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    scored = [row for row in rows if row["mode"] == "val"]
    if not scored:
        return None
    last = [row for row in rows if "loss" in row][-1]
    return {"ap50": scored[-1]["coco_ap50"], "skipped": last["skipped"], "loss": last["loss"]}


def train(job: tuple[Path, Path, str, int, int]) -> dict[str, float]:
    """One run in a process of its own."""
    data_root, out, precision, seed, threads = job
    done = finished(out)
    if done is None:
        line = [str(Path(sys.executable).with_name("halftrack")), "train", RECIPE]
        line += ["--data-root", str(data_root), "--out", str(out), "--precision", precision]
        line += ["--seed", str(seed), "--set", "training.workers=0"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(line, check=True, env=environment, capture_output=True)
        done = finished(out)
        assert done is not None
        print(f"seed {seed}, {precision}: AP50 {done['ap50']:.3f}", file=sys.stderr, flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    data_root = write_synthetic(args.out / "data", SyntheticVideo())
    threads = max((os.cpu_count() or 1) // args.jobs, 1)
    names = [(seed, precision) for seed in range(args.seeds) for precision in PRECISIONS]
    jobs = [(data_root, args.out / f"{p}_{s}", p, s, threads) for s, p in names]
    with ThreadPoolExecutor(args.jobs) as pool:
        results = dict(zip(names, pool.map(train, jobs), strict=True))
    print("| seed | fp32 | bf16 | fp16 | bf16 - fp32 | fp16 - fp32 | skipped steps in fp16 |")
    print("|---|---|---|---|---|---|---|")
    differences: dict[str, list[float]] = {"bf16": [], "fp16": []}
    for seed in range(args.seeds):
        scores = {p: results[seed, p]["ap50"] for p in PRECISIONS}
        cells = [f"{scores[p]:.3f}" for p in PRECISIONS]
        for p, values in differences.items():
            values.append(scores[p] - scores["fp32"])
            cells.append(f"{values[-1]:+.3f}")
        print(f"| {seed} | {' | '.join(cells)} | {results[seed, 'fp16']['skipped']:.0f} |")
    for p, values in differences.items():
        spread = f", standard deviation {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        print(f"\n{p} - fp32: mean {statistics.mean(values):+.3f}{spread}")
    print(f"\n{machine()}, {args.jobs} runs at a time")


if __name__ == "__main__":
    main()
