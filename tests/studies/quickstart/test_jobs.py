"""The jobs of a quickstart: which there are, in which order, and what each waits for."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from halftrack.studies.quickstart.jobs import jobs_of
from halftrack.studies.quickstart.plan import TASKS, full_plan, quick_plan


def test_each_task_is_filmed_before_it_is_trained_in_each_precision(tmp_path: Path) -> None:
    jobs = jobs_of(quick_plan(), "all", tmp_path, seed=0)
    names = [job.name for job in jobs]
    assert names[:4] == ["mot video", "Tracktor fp32", "Tracktor fp16", "vid video"]
    assert names[-1] == "rehearsal"
    assert [job.needs for job in jobs[:3]] == [(), ("mot video",), ("mot video",)]
    assert all(names.index(need) < names.index(job.name) for job in jobs for need in job.needs)


@pytest.mark.parametrize("task", TASKS)
def test_one_task_is_filmed_trained_and_rehearsed_alone(tmp_path: Path, task: str) -> None:
    jobs = jobs_of(full_plan(), task, tmp_path, seed=0)
    assert [job.precision for job in jobs] == ["", "fp32", "bf16", "fp16", ""]
    assert {job.task for job in jobs} == {task}
    logs = [log for job in jobs for log in job.logs.values()]
    assert len(set(logs)) == 3 * (2 if task == "mot" else 1)


def test_a_job_can_be_sent_to_another_process(tmp_path: Path) -> None:
    for job in jobs_of(quick_plan(), "all", tmp_path, seed=0):
        assert pickle.loads(pickle.dumps(job)).name == job.name
