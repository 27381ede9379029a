"""Scores of the quickstart over several seeds, in fp32 and fp16, with the skipped steps.

Each seed films its own synthetic video and trains from its own weights, as ``halftrack quickstart
--seed N`` does; the rehearsal is left out. A row is printed as soon as its seed is done.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measure import machine

from halftrack.studies.quickstart.jobs import Job, Result, jobs_of
from halftrack.studies.quickstart.plan import TASKS, quick_plan
from halftrack.studies.quickstart.work import run_jobs


def trained(task: str, seed: int, out: Path) -> list[tuple[Job, Result]]:
    """The trainings of one task and seed, a process for each precision, and their results."""
    plan = quick_plan()
    jobs = [job for job in jobs_of(plan, task, out, seed=seed) if job.name != "rehearsal"]
    out.mkdir(parents=True)
    results = run_jobs(
        jobs,
        processes=plan.processes,
        output=out / "output.txt",
        begun=lambda name: None,
        ended=lambda name, result: None,
        look=lambda: None,
    )
    return [(job, results[job.name]) for job in jobs if job.precision]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--out", type=Path, required=True, help="A folder for runs: new for each.")
    args = parser.parse_args()
    print(machine(), flush=True)
    for task in args.tasks:
        for seed in args.seeds:
            for job, result in trained(task, seed, args.out / f"{task}_{seed}"):
                scores = ", ".join(f"{name} {value}" for name, value in result.scores.items())
                costs = ", ".join(f"{name} {value}" for name, value in result.costs.items())
                print(f"seed {seed} {job.name}: {scores}; {costs}", flush=True)


if __name__ == "__main__":
    main()
