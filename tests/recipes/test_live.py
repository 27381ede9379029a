"""Streams as videos: served by this machine to itself, read once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from halftrack.data import DataError
from halftrack.recipes.live import open_live
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
