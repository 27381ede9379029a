"""Synthetic video in the three official layouts, to try everything without a download.

world.py makes the films, layouts.py writes them; this file protects folders that are not ours.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from halftrack.synthetic.layouts import LAYOUT_FOLDERS, Layout, SyntheticVideo, write_layout

__all__ = ["Layout", "SyntheticVideo", "write_synthetic"]

_MARKER = "halftrack_sample.json"
_GENERATOR = 3  # raised when the same settings give other video


def write_synthetic(
    root: str | Path,
    settings: SyntheticVideo | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write synthetic video below ``root``, unless the same already lies there.

    One root can hold all three layouts side by side. The rest of an interrupted call is replaced.

    Args:
        root: the data root, as ``--data-root`` takes it: a new or empty folder, or one that this
            function filled.
        settings: the videos to write; None for ImageNet VID's layout with the defaults.
        overwrite: replace synthetic video that has the same layout and other settings.
        progress: called with the number of videos done and the number of all videos.

    Returns:
        The data root.

    Raises:
        FileExistsError: if ``root`` holds anything that this function did not write, or synthetic
            video with other settings while ``overwrite`` is off.
        NotADirectoryError: if ``root`` is a file.
    """
    root = Path(root)
    settings = settings or SyntheticVideo()
    written = _read_marker(root)
    folder = root / LAYOUT_FOLDERS[settings.layout]
    # Through JSON and back: what a marker holds has lists for tuples.
    wanted = json.loads(json.dumps({"generator": _GENERATOR, **asdict(settings)}))
    found = written.get(settings.layout)
    if found is None and folder.exists():
        raise FileExistsError(
            f"{folder} exists and is not recorded in {root / _MARKER} as synthetic video: "
            "choose another folder"
        )
    if found is not None and found["complete"]:
        if found["settings"] == wanted and folder.is_dir():
            return root
        if found["settings"] != wanted and not overwrite:
            raise FileExistsError(
                f"{root} holds other synthetic video: {found['settings']}; asked for {wanted}. "
                "Choose another folder or overwrite."
            )
    root.mkdir(parents=True, exist_ok=True)
    # Marked as ours but unfinished first: an interrupted call can be repeated.
    _write_marker(root, {**written, settings.layout: {"complete": False, "settings": wanted}})
    if folder.exists():
        shutil.rmtree(folder)
    videos = settings.train_videos + settings.val_videos
    for done, _ in enumerate(write_layout(root, settings), start=1):
        if progress is not None:
            progress(done, videos)
    _write_marker(root, {**written, settings.layout: {"complete": True, "settings": wanted}})
    return root


def _read_marker(root: Path) -> dict[str, Any]:
    """Read the marker of what ``write_synthetic`` wrote below ``root``: settings by layout."""
    if not root.exists():
        return {}
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; synthetic video needs a folder")
    marker = root / _MARKER
    if not marker.is_file():
        if any(root.iterdir()):
            raise FileExistsError(
                f"{root} is not empty and holds no synthetic video ({_MARKER} is missing): "
                "choose another folder"
            )
        return {}
    try:
        layouts = json.loads(marker.read_text(encoding="utf-8"))["layouts"]
    except (ValueError, KeyError, TypeError):
        raise FileExistsError(
            f"{marker} is not readable as this version's: delete {root} or choose another folder"
        ) from None
    return dict(layouts)


def _write_marker(root: Path, layouts: dict[str, Any]) -> None:
    partial = root / f"{_MARKER}.partial"
    partial.write_text(json.dumps({"layouts": layouts}, indent=1), encoding="utf-8")
    os.replace(partial, root / _MARKER)
