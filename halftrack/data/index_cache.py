"""A parsed index kept beside a fingerprint of its sources: a million XML files are read once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from halftrack.data.index import VideoIndex, array_fields
from halftrack.data.problems import Problem

__all__ = ["cache_folder", "cached_index", "contents_hash", "fingerprint"]

_log = logging.getLogger(__name__)

# Part of every cache name: raise it when VideoIndex or what is put into it changes, and old files
# are no longer looked at.
_LAYOUT = 3


def cache_folder() -> Path | None:
    """The folder of the indexes: ``$XDG_CACHE_HOME/halftrack``, else ``~/.cache/halftrack``.

    None for a user without a home folder, as in many containers.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "halftrack"
    except RuntimeError:
        return None


def fingerprint(*, text: str = "", files: Iterable[Path] = (), folders: Iterable[Path] = ()) -> str:
    """A hash that changes when a file is edited, added, removed or renamed.

    Names, sizes and modification times are hashed, not contents: about 5 microseconds a file.

    Args:
        text: what was read from the lists.
        files: single files; a missing one counts as such.
        folders: folders of which every entry counts.
    """
    digest = hashlib.sha256(os.fsencode(text))
    for file in files:
        digest.update(_stamp(str(file), file))
    for folder in folders:
        digest.update(os.fsencode(f"{folder}\n"))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            digest.update(_stamp(entry.name, entry))
    return digest.hexdigest()


def contents_hash(arrays: Iterable[npt.NDArray[np.generic]], *, text: object = "") -> str:
    """Sixteen hexadecimal digits that change with any value, and with nothing else.

    Args:
        arrays: in a fixed order.
        text: whatever is no array; its ``repr`` counts, so let it be of plain values.
    """
    digest = hashlib.blake2b(repr(text).encode(), digest_size=8)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def cached_index(
    *,
    key: Mapping[str, object],
    fingerprint: str,
    build: Callable[[], VideoIndex],
    folder: Path | None = None,
) -> VideoIndex:
    """The index for ``key``: from the cache if its fingerprint holds, else built and kept.

    A cache that is stale, corrupt or cannot be written never stops the caller: it is logged.

    Args:
        key: JSON values that say which index is meant (root, split, classes, ...).
        fingerprint: hash of everything the index is built from.
        build: makes the index afresh.
        folder: where to keep it; ``cache_folder()`` if None.
    """
    named = json.dumps([_LAYOUT, dict(key)], sort_keys=True)
    name = hashlib.sha256(named.encode()).hexdigest()[:24]
    folder = folder or cache_folder()
    if folder is None:
        _log.warning("no home folder: the index is not cached (set XDG_CACHE_HOME to keep it)")
        return build()
    file = folder / f"index-{name}.npz"
    found = _read(file, fingerprint)
    if found is not None:
        return found
    index = build()
    try:
        _write(file, index, fingerprint)
    except OSError as error:
        _log.warning("the index could not be cached in %s: %s", file, error)
    return index


def _stamp(name: str, entry: Path | os.DirEntry[str]) -> bytes:
    try:
        stat = entry.stat()
    except OSError:
        return os.fsencode(f"{name} missing\n")
    return os.fsencode(f"{name} {stat.st_size} {stat.st_mtime_ns}\n")


def _read(file: Path, wanted: str) -> VideoIndex | None:
    try:
        # Opened here: np.load leaves a damaged file open.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            facts = json.loads(bytes(stored["facts"]).decode())
            if facts.pop("fingerprint") != wanted:
                _log.info("the annotations changed since %s was written: reading them again", file)
                return None
            facts["classes"] = tuple((name, wnid) for name, wnid in facts["classes"])
            facts["video_names"] = tuple(facts["video_names"])
            facts["problems"] = tuple(Problem(*problem) for problem in facts["problems"])
            arrays = {name: stored[name] for name in stored.files if name != "facts"}
            index = VideoIndex(**facts, **arrays)
    except FileNotFoundError:
        return None
    # Anything at all: damage shows as errors of zip, zlib, numpy, JSON and more, and the answer to
    # each is the same.
    except Exception as error:
        _log.warning("the cached index %s is unreadable (%s): building it again", file, error)
        return None
    if not _is_sound(index):
        _log.warning("the cached index %s contradicts itself: building it again", file)
        return None
    return index


def _is_sound(index: VideoIndex) -> bool:
    """Whether the arrays fit each other, as they do in every index that was written whole."""
    frames, boxes, videos = len(index.frame_files), len(index.labels), len(index.video_names)
    shapes = {
        "video_starts": (videos + 1,),
        "frame_files": (frames,),
        "frame_sizes": (frames, 2),
        "is_key": (frames,),
        "box_starts": (frames + 1,),
        "boxes_xyxy": (boxes, 4),
    }
    by_box = dict.fromkeys(("labels", "track_ids", "occluded", "generated", "ignored"), (boxes,))
    arrays = array_fields(index)
    return (
        {name: array.shape for name, array in arrays.items()} == shapes | by_box
        and index.video_starts[-1] == frames
        and index.box_starts[-1] == boxes
        and bool(
            (np.diff(index.video_starts) >= 0).all() and (np.diff(index.box_starts) >= 0).all()
        )
    )


def _write(file: Path, index: VideoIndex, fingerprint: str) -> None:
    arrays: dict[str, Any] = dict(array_fields(index))
    facts = {f.name: getattr(index, f.name) for f in fields(index) if f.name not in arrays}
    facts["problems"] = [(problem.file, problem.reason) for problem in index.problems]
    facts["odd"] = dict(index.odd)
    told = json.dumps({"fingerprint": fingerprint} | facts)
    packed = np.frombuffer(told.encode(), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: a reader sees the old file or the new one, never half of one.
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, facts=packed, **arrays)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
