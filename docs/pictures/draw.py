"""Draws the pictures of the README: a rehearsal's page, and a frame of tracked people.

Usage: ``python docs/pictures/draw.py`` after ``make quickstart``; needs Chromium. The pictures are
written beside this file, with 64 colours: at most 300 KB in all.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import av
from PIL import Image

HERE = Path(__file__).parent
FILMS = Path("runs/quickstart/mot")


def main() -> None:
    """Rehearse the tiny SELSA, photograph its page, and take a frame of the quickstart's film."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("no Chromium here")
    with tempfile.TemporaryDirectory() as folder:
        command = ["halftrack", "rehearse", "selsa_tiny_sample", "--steps", "10", "--out", folder]
        subprocess.run(command, check=False)
        photograph(browser, Path(folder) / "rehearsal.html", HERE / "rehearsal.png")
    take_frame(next(FILMS.glob("*.mp4")), HERE / "tracks.png")


def photograph(browser: str, page: Path, picture: Path) -> None:
    """The head of a page, 1100 pixels wide."""
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1235"]
    target = [f"--screenshot={picture.resolve()}", page.resolve().as_uri()]
    subprocess.run([browser, *options, *target], check=True)
    save(Image.open(picture), picture)


def take_frame(film: Path, picture: Path) -> None:
    """The frame in the middle of a film."""
    with av.open(str(film)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    save(frames[len(frames) // 2], picture)


def save(image: Image.Image, picture: Path) -> None:
    """The image with 64 colours."""
    image.convert("RGB").quantize(64).save(picture, optimize=True)


if __name__ == "__main__":
    main()
