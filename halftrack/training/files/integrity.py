"""Proof that a checkpoint is what was written: a checksum in a place that ``torch.load`` ignores.

The file is torch's zip archive; the checksum of all its bytes stands behind them as the archive's
comment. A file of earlier versions or of others has none: its records have the CRC of any zip.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

from halftrack.errors import UserError

__all__ = ["check_intact", "check_kind", "is_safetensors", "seal"]

_MARK = b"halftrack blake2b "
_LENGTH = len(_MARK) + 32
_END = b"PK\x05\x06"  # what closes a zip archive: 22 bytes, the last two the comment's length
_END_LENGTH = 22
_PIECE = 1 << 20


def seal(file: BinaryIO) -> None:
    """Append the checksum to a zip archive just written; the file must be open for reading too."""
    file.seek(-2, os.SEEK_END)
    file.write(_LENGTH.to_bytes(2, "little"))
    end = file.tell()
    file.seek(0)
    mark = _MARK + _digest(file, end)
    file.seek(end)
    file.write(mark)


def check_kind(path: Path) -> None:
    """Make sure by its first bytes that a file can be a checkpoint.

    Raises:
        ValueError: if it is empty, or something else under a checkpoint's name.
    """
    with path.open("rb") as file:
        head = file.read(512)
    kind = _something_else(head) if head else "empty"
    if kind is not None:
        raise UserError(f"{path} is not a readable checkpoint: it is {kind}")


def check_intact(path: Path) -> None:
    """Make sure that a checkpoint is whole, as far as the file itself can tell.

    Raises:
        ValueError: if it is damaged, cut short, or something else under a checkpoint's name.
    """
    check_kind(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
        file.seek(max(size - _LENGTH - _END_LENGTH, 0))
        tail = file.read()
        if not _is_sealed(tail):
            if is_zip:
                _check_records(path)
            return
        file.seek(0)
        found = _digest(file, size - _LENGTH)
    if tail[-_LENGTH:] != _MARK + found:
        raise UserError(
            f"{path} is damaged: its bytes do not match its checksum; take another checkpoint, "
            "or a fresh copy of the file"
        )


def is_safetensors(head: bytes) -> bool:
    """True for the beginning of a safetensors file: a length, then JSON."""
    return head[8:10] == b'{"'


def _check_records(path: Path) -> None:
    """Make sure that the records of a zip archive match their CRC; no zip, no check.

    Raises:
        ValueError: if one does not.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception:  # torch has its own words for what is no archive
        return
    with archive:
        records = archive.infolist()
        claimed = sum(record.file_size for record in records)
        # torch compresses nothing; what is inflated, or shared by records, could be of any size.
        if claimed > path.stat().st_size or any(record.compress_type for record in records):
            raise UserError(
                f"{path} is not a readable checkpoint: its records claim {claimed:,} bytes, which "
                "it does not hold uncompressed"
            )
        names = archive.namelist()
        bad = [name for name in names if not _matches(archive, name)]
    # torch can be told to write no CRC: then none of them matches.
    if bad and len(bad) < len(names):
        raise UserError(
            f"{path} is damaged: {len(bad)} of its {len(names)} records do not match their CRC, "
            f"the first is {bad[0]}; take another checkpoint, or a fresh copy of the file"
        )


def _digest(file: BinaryIO, length: int) -> bytes:
    """The checksum of so many bytes, as text."""
    digest = hashlib.blake2b(digest_size=16)
    while length > 0 and (piece := file.read(min(_PIECE, length))):
        digest.update(piece)
        length -= len(piece)
    return digest.hexdigest().encode()


def _is_sealed(tail: bytes) -> bool:
    """Whether a file has a checksum, or had one until its last bytes were damaged or cut off."""
    end = tail.find(_END)
    length = tail[end + _END_LENGTH - 2 : end + _END_LENGTH] if end >= 0 else b""
    return _MARK in tail or length == _LENGTH.to_bytes(2, "little")


def _matches(archive: zipfile.ZipFile, name: str) -> bool:
    try:
        with archive.open(name) as record:
            while record.read(_PIECE):
                pass
    except Exception:  # a flipped bit of a header shows as errors of every kind
        return False
    return True


def _something_else(head: bytes) -> str | None:
    """The name of what people have in the place of a checkpoint, by its first bytes."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not the file itself: download it again, from the page's own link"
    if text.startswith((b"{", b"[")):
        return "JSON text, not the weights: perhaps an error message of the server"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip archive: unpack it first"
    if not head.startswith((b"PK", b"\x80")) and not is_safetensors(head):
        return "neither a zip archive nor a pickle, so torch.save did not write it"
    return None
