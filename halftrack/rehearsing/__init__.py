"""Rehearsal of any PyTorch model in half precision: steps, findings, memory, the page.

It imports ``halftrack.precision``, torch and numpy alone. Its functions are ``halftrack.rehearse``,
``halftrack.watching`` and ``halftrack.plan``; ``run_script`` is behind ``halftrack run``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.rehearsing.any_model import rehearse
    from halftrack.rehearsing.loop import Watch, watching
    from halftrack.rehearsing.planned import StepPlan, plan
    from halftrack.rehearsing.report import Report
    from halftrack.rehearsing.script import ScriptRun, run_script

__all__ = ["Report", "ScriptRun", "StepPlan", "Watch", "plan", "rehearse", "run_script", "watching"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "any_model": ("rehearse",),
        "loop": ("Watch", "watching"),
        "planned": ("StepPlan", "plan"),
        "report": ("Report",),
        "script": ("ScriptRun", "run_script"),
    },
)
