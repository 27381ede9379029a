"""A recipe from Python: loaded, changed, trained, scored, and its detector used on an image.

    python examples/train_from_python.py

Each `# %%` begins a cell, for editors that show such files as notebooks.
"""

# %% Synthetic video in MOT17's layout; of data of your own, the folder that holds `MOT17`.
from pathlib import Path

from PIL import Image

import halftrack
from halftrack.report import draw_tracks
from halftrack.synthetic import SyntheticVideo, write_synthetic

OUT = Path("runs/train_from_python")
VIDEO = SyntheticVideo(layout="mot", train_videos=6, val_videos=1, frames=24, size=(96, 160))
data = write_synthetic(OUT / "data", VIDEO, overwrite=True)

# %% A recipe is a frozen value: to change it gives another. `halftrack recipes` lists them.
recipe = halftrack.load_recipe("faster-rcnn_tiny_sample").with_precision("fp16")
changes = {
    "data.image_scale": (160, 96),  # the longest side and the shorter one, in pixels
    "data.crop_size": (96, 160),  # height and width
    "training.warmup_steps": 10,
}
recipe = halftrack.override(recipe, changes)

# %% Trained: the same call again goes on after a crash, and leaves a finished run as it is.
result = halftrack.train(recipe, data_root=data, out=OUT)
print(f"{result.steps} steps, {result.skipped} of them skipped, loss scale {result.loss_scale:g}")

# %% Scored: more than the log shows, and of any checkpoint.
evaluation = halftrack.evaluate(recipe, data_root=data, checkpoint=OUT / "best.pth")
for name, score in evaluation.flat().items():
    print(f"{name:16} {score:.3f}")
print(f"{evaluation.frames_per_second:.1f} frames/s")

# %% Used: on an image from anywhere. Boxes are in its pixels.
image = Image.open(sorted(data.glob("MOT17/test/*/img1/*.jpg"))[-1])
detector = halftrack.FrameTracker(recipe, checkpoint=OUT / "best.pth")
found = detector.step(image)
for box, score in zip(found.boxes_xyxy.tolist(), found.scores.tolist(), strict=True):
    print(f"{score:.2f} at {[round(side) for side in box]}")
draw_tracks(image, found).save(OUT / "found.png")
print(f"drawn in {OUT / 'found.png'}")
