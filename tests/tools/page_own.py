"""A user's own folders, as docs/own_data.md and the tutorials name them."""

from __future__ import annotations

import shutil
from pathlib import Path

from halftrack.synthetic import SyntheticVideo, write_synthetic

__all__ = ["write_own_data"]

_CLASSES = {"n90000001": "van", "n90000002": "ball", "n90000003": "van", "n90000004": "ball"}


def write_own_data(folder: Path) -> None:
    """Write my-videos (vans and balls, without lists), my-streets (cars) and my-targets."""
    for layout, name in (("vid", "my-videos"), ("mot", "my-streets"), ("sot", "my-targets")):
        films = SyntheticVideo(
            layout=layout,  # type: ignore[arg-type]
            train_videos=3,
            val_videos=0,
            frames=12,
            size=(72, 120),
        )
        write_synthetic(folder / "made" / name, films)
    made = folder / "made"
    for file in (made / "my-videos").rglob("*.xml"):
        text = file.read_text(encoding="utf-8")
        for wnid, name in _CLASSES.items():
            text = text.replace(wnid, name)
        file.write_text(text, encoding="utf-8")
    for lists in ("Lists", "ImageSets"):
        shutil.rmtree(made / "my-videos/ILSVRC" / lists, ignore_errors=True)
    for table in (made / "my-streets").rglob("gt.txt"):
        rows = [line.split(",") for line in table.read_text().split()]
        rows = [[*row[:7], "3" if row[7] == "1" else row[7], row[8]] for row in rows]
        table.write_text("".join(",".join(row) + "\n" for row in rows))
    # The second of three, here street_11, is the one that is split off to validate on.
    for number, street in enumerate(sorted((made / "my-streets/MOT17/train").iterdir())):
        street.rename(street.with_name(f"street_{number}1"))
    shutil.move(made / "my-videos", folder)
    shutil.move(made / "my-streets/MOT17/train", folder / "my-streets")
    shutil.move(made / "my-targets", folder)
    shutil.rmtree(made)
