"""Looks at pages: are they well-formed, and do they fit a browser's window?"""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "br", "img"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class WellFormed(HTMLParser):
    """Fails at a tag that does not close the last one open; keeps text and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def widths_in_a_browser(page: Path, width: int) -> tuple[int, int]:
    """The widths of the page's content and of its window, which is made ``width`` pixels wide.

    Fails if the browser complains or a film cannot be played.
    """
    folder = page.parent
    # A window narrower than a browser allows is made by a frame; it tells its own widths.
    probe = folder / "probe.html"
    probe.write_text(
        f'<iframe src="{page.name}" style="width:{width}px;height:900px;border:0"></iframe>'
        "<script>onload = () => { const page = document.querySelector('iframe').contentDocument;"
        "const root = page.documentElement; document.body.dataset.widths ="
        "`${root.scrollWidth} ${root.clientWidth}`; document.body.dataset.films ="
        "[...page.querySelectorAll('video')].map(film => film.videoWidth); }</script>",
        encoding="utf-8",
    )
    told = subprocess.run(
        [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",  # one would take 15 px of the width
            "--allow-file-access-from-files",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,1000",
            "--virtual-time-budget=3000",
            "--enable-logging=stderr",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in told.stderr
    widths = re.search(r'data-widths="(\d+) (\d+)"', told.stdout)
    assert widths is not None, told.stdout[:500]
    films = re.search(r'data-films="([\d,]*)"', told.stdout)
    assert films is not None
    assert all(int(film) > 0 for film in films[1].split(",") if film), films[1]
    return int(widths[1]), int(widths[2])
