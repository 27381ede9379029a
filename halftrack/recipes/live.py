"""Cameras and streams as videos: opened once, read as the frames come, without an end of their own.

Files are never fetched from an address (``halftrack.data.open_video``); this is for addresses that
a user names.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Generator
from urllib.parse import urlsplit

import av

from halftrack.data import DataError, VideoSource
from halftrack.data.files import file_name, is_live
from halftrack.data.video_file import Picture, limit_pixels, shown_picture

__all__ = ["open_live", "shown_address"]

_SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "srt", "tcp", "udp")
# Without "file": a stream must not make anybody read a file of this machine.
_PROTOCOLS = "http,https,httpproxy,tcp,udp,rtp,rtsp,rtsps,rtmp,srt,tls,crypto,hls"
_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
_OTHER_CAMERA = ("vfwcap", "{}")
_PATIENCE = (10.0, 30.0)  # seconds for the connection and for each frame
_DEFAULT_RATE = 30.0


def open_live(address: str) -> VideoSource:
    """A camera or stream whose frames can be gone through once; it ends where the stream does.

    Args:
        address: the number of a camera, from 0, or the address of a stream.

    Raises:
        DataError: if it cannot be opened, has no picture, or pictures above ``MAX_PIXELS``.
    """
    told = shown_address(address)
    if not is_live(address):
        raise DataError(told, f"expected the number of a camera or {'://, '.join(_SCHEMES)}://")
    container = _opened(address)
    if not container.streams.video:
        container.close()
        raise DataError(told, "has no video stream")
    rate = container.streams.video[0].average_rate
    frames = _frames(container, told)
    first = next(frames, None)
    if first is None:
        raise DataError(told, "ended before its first frame")
    return VideoSource(
        name=_name(told),
        origin=_origin(address, told),
        frame_rate=float(rate or _DEFAULT_RATE),
        size=(int(first.image.shape[1]), int(first.image.shape[2])),
        num_frames=None,
        image_scale=None,
        pictures=lambda: _chained(first, frames),
        varying_rate=True,
        live=True,
    )


def shown_address(address: str) -> str:
    """The address as it may be printed and written: without user and password.

    They stand before an @, or behind a =, as in ``?user=me&password=secret``; there numbers up to
    three digits are kept, which are channels of a camera.
    """
    scheme, separator, rest = address.partition("://")
    user, at, place = "", "", rest
    if re.match("[^/]*[@:]", rest):  # else an @ is of the path
        # The last @: a password may hold one, and a slash too, although it should not.
        user, at, place = rest.rpartition("@")
    place = re.sub(r"=(?![0-9]{1,3}(?:[&#/]|$))[^&#/]*", "=...", place)
    return f"{scheme}{separator}{'...' if user else ''}{at}{place}"


def _origin(address: str, told: str) -> str:
    """The address as shown, with a mark where two streams may be shown alike."""
    if told == address:
        return told
    # A slow hash and few bytes of it: a fast one would tell whether a guessed password is right.
    mark = hashlib.scrypt(address.encode(), salt=b"halftrack", n=2**14, r=8, p=1, dklen=4)
    return f"{told} #{mark.hex()}"


def _opened(address: str) -> av.container.InputContainer:
    told = shown_address(address)
    if address.isdecimal():
        kind, file = _CAMERAS.get(sys.platform, _OTHER_CAMERA)
        place, options, what = file.format(address), {}, f"camera {address}"
    else:
        scheme = address.partition("://")[0].lower()
        if scheme not in _SCHEMES:
            allowed = ", ".join(_SCHEMES)
            raise DataError(told, f"{scheme}:// is no stream here; allowed are {allowed}")
        kind, place, what = None, address, "the stream"
        options = {"protocol_whitelist": _PROTOCOLS}
    try:
        return av.open(place, format=kind, options=options, timeout=_PATIENCE)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        # Never the error's own text, which quotes the address.
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise DataError(told, f"{what} cannot be opened: {reason}") from None


def _frames(container: av.container.InputContainer, told: str) -> Generator[Picture]:
    start: float | None = None
    with container:
        limit_pixels(container.streams.video[0], told)
        try:
            for frame in container.decode(video=0):
                start = frame.time if start is None else start
                passed = None if frame.time is None or start is None else frame.time - start
                yield shown_picture(frame, passed)
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise DataError(told, f"the stream broke off: {reason}") from None


def _chained(first: Picture, others: Generator[Picture]) -> Generator[Picture]:
    yield first
    yield from others  # so that closing this closes the camera


def _name(told: str) -> str:
    if told.isdecimal():
        return f"camera-{told}"
    parts = urlsplit(told)
    last = re.sub(r"\.\w+$", "", parts.path.rstrip("/").rpartition("/")[2])
    return file_name(last or parts.hostname or "stream")
