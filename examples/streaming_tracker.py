"""A tracker in a loop of your own: images come one by one, boxes with identities come back.

python examples/streaming_tracker.py
"""

# %% A small detector, trained on synthetic video in half a minute; the second time it is there.
from pathlib import Path

import numpy as np
from PIL import Image

import halftrack
from halftrack.report import Trails, draw_tracks
from halftrack.synthetic import SyntheticVideo, write_synthetic

OUT = Path("runs/streaming_tracker")
VIDEO = SyntheticVideo(layout="mot", train_videos=6, val_videos=1, frames=24, size=(96, 160))
data = write_synthetic(OUT / "data", VIDEO, overwrite=True)
small = {"data.image_scale": (160, 96), "data.crop_size": (96, 160)}
detector = halftrack.override(halftrack.load_recipe("faster-rcnn_tiny_sample"), small)
halftrack.train(detector, data_root=data, out=OUT)

# %% Tracktor around it. With a ReID model (`reid_checkpoint`) it recognises who was hidden, too.
recipe = halftrack.override(
    halftrack.load_recipe("tracktor_tiny_sample"),
    {
        "data.image_scale": (160, 96),
        "detector_checkpoint": str(OUT / "best.pth"),
        "reid": None,
    },
)
tracker = halftrack.FrameTracker(recipe)

# %% The loop is yours: files here; a camera, a queue or a robot's callback elsewhere.
trails, pictures, seen = Trails(), [], {}
for frame_index, file in enumerate(sorted(data.glob("MOT17/test/*/img1/*.jpg"))):
    image = np.asarray(Image.open(file))  # uint8 (height, width, 3), RGB
    tracks = tracker.step(image)
    for identity, box in zip(tracks.ids.tolist(), tracks.boxes_xyxy.tolist(), strict=True):
        seen.setdefault(identity, []).append((frame_index, [round(side) for side in box]))
    trails.add(tracks)
    pictures.append(draw_tracks(image, tracks, trails=trails))

# %% Who was where, and a film of it.
for identity, path in seen.items():
    (first, start), (last, end) = path[0], path[-1]
    print(f"object {identity}: frames {first} to {last}, from {start} to {end}")
film = OUT / "tracks.gif"
pictures[0].save(film, save_all=True, append_images=pictures[1:], duration=100, loop=0)
print(f"film in {film}")
