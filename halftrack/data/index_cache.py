"""A parsed index kept beside a fingerprint of its sources: a million XML files are read once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from halftrack.data.index import VideoIndex, array_fields
from halftrack.data.problems import Problem

__all__ = ["cache_folder", "cached_index", "fingerprint"]

_log = logging.getLogger(__name__)

# Part of every cache name: raise it when VideoIndex changes, and old files are no longer looked at.
_LAYOUT = 1


def cache_folder() -> Path:
    """Where indexes are kept: ``$XDG_CACHE_HOME/halftrack``, else ``~/.cache/halftrack``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "halftrack"


def fingerprint(*, text: str = "", files: Iterable[Path] = (), folders: Iterable[Path] = ()) -> str:
    """A hash that changes when a file is edited, added, removed or renamed.

    Names, sizes and modification times are hashed, not contents: about 5 microseconds a file.

    Args:
        text: what was read from the lists.
        files: single files; a missing one counts as such.
        folders: folders of which every entry counts.
    """
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(_stamp(str(file), file))
    for folder in folders:
        digest.update(f"{folder}\n".encode())
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            digest.update(_stamp(entry.name, entry))
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
    file = (folder or cache_folder()) / f"index-{name}.npz"
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
        return f"{name} missing\n".encode()
    return f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode()


def _read(file: Path, wanted: str) -> VideoIndex | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            facts = json.loads(bytes(stored["facts"]).decode())
            if facts.pop("fingerprint") != wanted:
                _log.info("the annotations changed since %s was written: reading them again", file)
                return None
            facts["classes"] = tuple((name, wnid) for name, wnid in facts["classes"])
            facts["video_names"] = tuple(facts["video_names"])
            facts["problems"] = tuple(Problem(*problem) for problem in facts["problems"])
            arrays = {name: stored[name] for name in stored.files if name != "facts"}
            return VideoIndex(**facts, **arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("the cached index %s is unreadable (%s): building it again", file, error)
        return None


def _write(file: Path, index: VideoIndex, fingerprint: str) -> None:
    facts = {
        "fingerprint": fingerprint,
        "image_root": index.image_root,
        "classes": index.classes,
        "video_names": index.video_names,
        "problems": [(problem.file, problem.reason) for problem in index.problems],
        "unknown_objects": index.unknown_objects,
        "degenerate_boxes": index.degenerate_boxes,
        "overhanging_boxes": index.overhanging_boxes,
    }
    arrays: dict[str, Any] = dict(array_fields(index))
    packed = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
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
