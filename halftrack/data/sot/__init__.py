"""Single-object tracking: pairs to learn from, sequences to track in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.data.sot.benchmarks import read_sot
    from halftrack.data.sot.config import PairDataConfig, SotBenchmark, SotSplit
    from halftrack.data.sot.pair_objects import TrackedObjects
    from halftrack.data.sot.pair_sets import read_pair_set, read_pair_sets
    from halftrack.data.sot.pairs import PairBatches
    from halftrack.data.sot.sequences import SotSequence
    from halftrack.data.sot.targets import TestTarget, TestTargets

__all__ = [
    "PairBatches",
    "PairDataConfig",
    "SotBenchmark",
    "SotSequence",
    "SotSplit",
    "TestTarget",
    "TestTargets",
    "TrackedObjects",
    "read_pair_set",
    "read_pair_sets",
    "read_sot",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "benchmarks": ("read_sot",),
        "config": (
            "PairDataConfig",
            "SotBenchmark",
            "SotSplit",
        ),
        "pair_objects": ("TrackedObjects",),
        "pair_sets": (
            "read_pair_set",
            "read_pair_sets",
        ),
        "pairs": ("PairBatches",),
        "sequences": ("SotSequence",),
        "targets": (
            "TestTarget",
            "TestTargets",
        ),
    },
)
