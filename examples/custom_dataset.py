"""A data set of your own: a folder of pictures and a table of boxes train a recipe's detector.

python examples/custom_dataset.py
"""

# %% Your files: pictures, and a table with a row for each box. Here they are drawn.
import random
from itertools import groupby
from pathlib import Path

import torch
from PIL import Image, ImageDraw

import halftrack
from halftrack.data import OrderedBatches, load_image
from halftrack.frames import Frame, FrameBatch
from halftrack.recipes import FrameDetectionRecipe, samples_scorer

OUT, CLASSES, draw = Path("runs/custom_dataset"), ("ellipse", "rectangle"), random.Random(0)
OUT.mkdir(parents=True, exist_ok=True)
with (OUT / "boxes.csv").open("w") as table:
    for name in (f"{number:03}.png" for number in range(160)):
        picture = Image.new("RGB", (128, 96), (draw.randrange(99), draw.randrange(99), 60))
        for left, shape in zip((0, 64), draw.sample(CLASSES, 2), strict=True):
            x, y, side = left + draw.randrange(32), draw.randrange(64), draw.randrange(16, 32)
            getattr(ImageDraw.Draw(picture), shape)((x, y, x + side, y + side), "orange")
            table.write(f"{name},{shape},{x},{y},{x + side},{y + side}\n")
        picture.save(OUT / name)


# %% Samples of them: `OrderedBatches` adds a random order, batches, worker processes and resume.
class Pictures(OrderedBatches[Frame, FrameBatch]):
    def __init__(self, folder: Path, part: slice) -> None:
        rows = [line.split(",") for line in (folder / "boxes.csv").read_text().splitlines()]
        self.files = [(folder / n, [*each]) for n, each in groupby(rows, lambda row: row[0])][part]
        super().__init__(num_samples=len(self.files), samples_per_batch=2)

    def sample(self, *, seed: int, epoch: int, index: int) -> Frame:
        file, rows = self.files[index]
        boxes = torch.tensor([[float(side) for side in row[2:]] for row in rows])
        labels = torch.tensor([CLASSES.index(row[1]) for row in rows])
        return Frame(image=load_image(file), sample_id=file.name, boxes_xyxy=boxes, labels=labels)

    def collate(self, samples: list[Frame]) -> FrameBatch:
        return FrameBatch(frames=tuple(samples))


# %% A recipe that learns from them and is scored on the last sixteen; all else is as listed.
class PictureRecipe(FrameDetectionRecipe):
    def training_source(self, data_root, *, progress=None):
        return Pictures(data_root, slice(0, -16))

    def scorer(self, data_root, device, *, progress=None):
        return samples_scorer(self, Pictures(data_root, slice(-16, None)), device, progress)


recipe = halftrack.load_recipe("faster-rcnn_tiny_sample").with_classes(CLASSES)
recipe = PictureRecipe(**vars(halftrack.override(recipe, {"training.warmup_steps": 10})))
result = halftrack.train(recipe, data_root=OUT, out=OUT / "run")
print(f"AP50 {result.metrics['coco_ap50']:.2f} after {result.steps} steps")
