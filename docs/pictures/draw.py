"""Draws the picture of the README: the head of a rehearsal's page.

Usage: ``python docs/pictures/draw.py``; needs Chromium. The picture is written beside this file,
with 64 colours.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parent / "rehearsal.png"


def main() -> None:
    """Rehearse the tiny SELSA and photograph its page, 1100 pixels wide."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("no Chromium here")
    with tempfile.TemporaryDirectory() as folder:
        command = ["halftrack", "rehearse", "selsa_tiny_sample", "--steps", "10", "--out", folder]
        subprocess.run(command, check=True)
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1235"]
        page = (Path(folder) / "rehearsal.html").as_uri()
        subprocess.run([browser, *options, f"--screenshot={PICTURE.resolve()}", page], check=True)
    Image.open(PICTURE).convert("RGB").quantize(64).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
