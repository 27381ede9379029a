"""Is a user's data complete and readable? Counts of everything, and every problem with its file."""

from __future__ import annotations

from pathlib import Path

from halftrack.data.check.pairs import check_pairs
from halftrack.data.check.report import DataReport
from halftrack.data.check.sequences import check_mot
from halftrack.data.check.videos import check_vid
from halftrack.data.mot.config import MotDetectionConfig, ReIDDataConfig
from halftrack.data.progress import Progress
from halftrack.data.sot.config import PairDataConfig
from halftrack.data.vid.config import VidDataConfig

__all__ = ["check"]


def check(
    data_root: str | Path,
    config: VidDataConfig | MotDetectionConfig | ReIDDataConfig | PairDataConfig,
    *,
    tracked: bool = False,
    decode: bool = False,
    processes: int = 0,
    threads: int = 4,
    progress: Progress | None = None,
) -> DataReport:
    """Read all annotations and look for all images of the sets that ``config`` names.

    Args:
        data_root: the folder that contains ``ILSVRC`` (or ``MOT17``, ...), or that folder itself.
        config: which sets, classes and rules. Pairs name no test sequences: see ``check_sot``.
        tracked: MOTChallenge's test sequences are tracked, which takes ground truth in all of
            them or in none; else a detector is tested, which takes some in all.
        decode: decode every image too.
        processes: how many processes parse annotations.
        threads: how many threads look at images.
        progress: told (done, in all) for the videos of a set, then for its images.

    Raises:
        DataError: if there is no data set to look at. Everything smaller is in the report, and of
            pairs, which come from several data sets, a missing one too.
    """
    if isinstance(config, PairDataConfig):
        sets = check_pairs(
            data_root,
            config,
            decode=decode,
            processes=processes,
            threads=threads,
            progress=progress,
        )
    elif isinstance(config, VidDataConfig):
        sets = check_vid(
            data_root,
            config,
            decode=decode,
            processes=processes,
            threads=threads,
            progress=progress,
        )
    else:
        sets = check_mot(
            data_root,
            config,
            tracked=tracked,
            decode=decode,
            threads=threads,
            progress=progress,
        )
    return DataReport(sets=sets, decoded=decode)
