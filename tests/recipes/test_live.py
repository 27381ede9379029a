"""Streams as videos: served by this machine to itself, read once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from halftrack.data import DataError, video_file
from halftrack.recipes.live import open_live, shown_address
from halftrack.report import VideoWriter


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with VideoWriter(tmp_path / "street.mp4", size=(48, 64), frame_rate=10) as film:
        for number in range(5):
            film.write(torch.full((3, 48, 64), 40 * number, dtype=torch.uint8))
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/street.mp4\n")
    handler = partial(Silent, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_frames_of_a_stream_come_once_from_the_first_on(address: str) -> None:
    source = open_live(f"{address}/street.mp4?user=me")
    assert (source.name, source.size, source.num_frames, source.live) == (
        *("street", (48, 64)),
        *(None, True),
    )
    frames = list(source)
    assert [round(float(each.image.float().mean()) / 40) for each in frames] == [0, 1, 2, 3, 4]
    assert [each.time for each in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_stream_of_frames_above_the_limit_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_file, "MAX_PIXELS", 48 * 64 - 1)
    with pytest.raises(DataError, match=r"street\.mp4: frames are 64x48, .*; allowed are"):
        open_live(f"{address}/street.mp4")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("rtsp://me:secret@host:554/a/1?x=1", "rtsp://...@host:554/a/1?x=1"),
        ("rtsp://me:se@cr/et@host/a", "rtsp://...@host/a"),
        ("rtsp://me:s#e?c@host", "rtsp://...@host"),
        ("http://host/a@b/c.mp4?mail=x@y", "http://host/a@b/c.mp4?mail=..."),
        ("http://me@host/a.mp4", "http://...@host/a.mp4"),
        ("http://host/a?user=me&pwd=1234&channel=12", "http://host/a?user=...&pwd=...&channel=12"),
        ("rtsp://host/user=me_password=secret_stream=0.sdp", "rtsp://host/user=..."),
        ("http://host/a.mp4", "http://host/a.mp4"),
        ("12", "12"),
    ],
)
def test_an_address_is_told_without_user_and_password(given: str, told: str) -> None:
    assert shown_address(given) == told


def test_a_password_stands_in_no_error_and_no_source(address: str) -> None:
    scheme, _, host = address.partition("://")
    source = open_live(f"{scheme}://me:secret@{host}/street.mp4?token=secret")
    told, _, mark = source.origin.partition(" #")
    assert told == f"{scheme}://...@{host}/street.mp4?token=..."
    assert len(mark) == 8
    assert "secret" not in f"{source}"
    for wrong in ("missing.mp4", "text.mp4"):
        with pytest.raises(DataError) as told:
            open_live(f"{scheme}://me:secret@{host}/{wrong}?token=secret")
        assert "secret" not in str(told.value)
        assert wrong in str(told.value)


def test_streams_that_are_shown_alike_have_origins_of_their_own(address: str) -> None:
    given = [f"{address}/street.mp4{end}" for end in ("?at=front", "?at=back", "?at=back", "")]
    front, back, again, plain = (open_live(each).origin for each in given)
    assert front != back == again
    assert plain == given[-1]


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "list.m3u8"])
def test_a_stream_without_frames_is_an_error_with_its_address(address: str, name: str) -> None:
    with pytest.raises(DataError, match=name):
        list(open_live(f"{address}/{name}"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("file:///etc/hosts", "file:// is no stream here; allowed are http, "),
        ("concat://a", "concat:// is no stream here"),
        ("97", "camera 97 cannot be opened"),
        ("street", "expected the number of a camera or http://"),
        ("rtsp://[x", "the stream cannot be opened"),
    ],
)
def test_what_is_no_stream_says_what_is_allowed(given: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_live(given)
