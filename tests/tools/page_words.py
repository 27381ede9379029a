"""What a page says, in words of what stands on the stage: placeholders, large numbers, Python."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from page_recipes import SHORT_REID
from torch import nn

__all__ = ["is_of_a_file", "placed", "python_names", "staged"]

_FEWER = {"--steps": "2", "--seeds": "2", "--trials": "5", "--image": "64x96"}
"""Values of options that here stand for larger ones."""
_PLACEHOLDERS = {
    "x,y,w,h": "8,8,24,24",
    "VIDEO...": "VIDEO",
    "COMMAND": "train",
    "TRACKTOR": "tracktor_tiny_sample",
    "RUN": "runs/X",
    "RECIPE": "reid_tiny_sample",
    "F": "runs/X/best.pth",
    "FILE": "SIAMESE.pth",
    "best.pth": "runs/theirs/best.pth",
}
_NUMBERS = itertools.count()
_TRACKERS = {"RECIPE": "tracktor_tiny_sample", "F": "TRACKTOR.pth"}
_OF_ONE_OBJECT = {"RECIPE": "siamese_rpn_tiny_sample", "F": "SIAMESE.pth"}
_THEIRS = {"F": "runs/theirs/best.pth", "epoch_2.pth": "theirs/epoch_2.pth"}


def placed(words: Sequence[str]) -> list[str]:
    """A command's words with a value for each placeholder, as far as no file is asked for."""
    return [_PLACEHOLDERS.get(word, word) for word in words]


def is_of_a_file(words: Sequence[str]) -> bool:
    """A command's recipe is a file, which builds on the listed recipes as they are."""
    return words[1] != "run" and any(word.endswith(".py") for word in words)


def staged(words: Sequence[str]) -> list[str]:
    """A command's words, ``halftrack`` first, with what is on the stage for what is spoken of."""
    verb, names = words[1], dict(_PLACEHOLDERS)
    more = ["--detector", "D", "--reid", "R"] if verb == "tune" else []
    if verb in ("tune", "track"):
        names |= _OF_ONE_OBJECT if "--init-box" in words else _TRACKERS
    if words[1:3] == ["data", "split"]:
        names["DATA"] = "my-videos"
    if words[1:3] == ["data", "synthetic"]:
        names["DATA"] = "MADE"
        more = ["--train-videos", "1", "--val-videos", "1", "--frames", "8"]
    if words[1] == "eval" and words[2].startswith("siamese"):
        names["FOLDER"] = "BOXES"
    if is_of_a_file(words):
        config, more = _of_theirs(words)
        names |= _THEIRS | {"CONFIG.py": config, "configs/my_selsa.py": config}
        if verb == "track":
            names["F"] = "theirs/tracker.pth"
    if verb == "train" and ("RECIPE" in words or is_of_a_file(words)):
        # Commands that a reader takes one of would meet in one folder.
        new = f"runs/new-{next(_NUMBERS)}"
        names["runs/X"] = new
        more += [] if "--out" in words else ["--out", new]
    if "--resume-from" in words:
        more += ["--set", "training.epochs=3"]  # the file has two
    fewer = _FEWER if verb == "plan" else {**_FEWER, "--gpus": "1"}
    if verb == "rehearse" and is_of_a_file(words):
        fewer = {**fewer, "--steps": "8"}  # the loss scale comes down for five
    found = [names.get(word, word) for word in words]
    return [fewer.get(pre, word) for pre, word in zip(["", *found], found, strict=False)] + more


def _of_theirs(words: Sequence[str]) -> tuple[str, list[str]]:
    """A config of theirs that a command can take, and what else it needs to take seconds."""
    verb, scored = words[1], "--results" in words
    if verb == "tune":
        return "configs/search.py", ["--detector", "theirs/detector.pth"]
    if verb == "track" or scored:
        return "configs/tracker.py", []
    # ImageNet's weights are on the web.
    more = (
        ["--init", "none"] if verb in ("train", "parity") and "--resume-from" not in words else []
    )
    if verb in ("train", "eval", "parity"):
        more += [word for setting in SHORT_REID for word in ("--set", setting)]
    return "configs/reid.py", more


def python_names(page: str) -> dict[str, Any]:
    """What the Python of a page takes for granted."""
    import halftrack

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.head(values)

    class Learner(Net):
        def forward(self, batch: Any) -> torch.Tensor:
            return nn.functional.cross_entropy(super().forward(batch[0]), batch[1])

    torch.manual_seed(0)
    # In the README a model gives its loss; on the page of any model it gives logits.
    model = Learner() if page == "README.md" else Net()
    batch = torch.ones(2, 4), torch.tensor([0, 2])
    return {
        "batch": batch,
        "batches": [batch, batch],
        "criterion": nn.CrossEntropyLoss(),
        "device": "cpu",
        "halftrack": halftrack,
        "loader": [batch, batch],
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "step": lambda model, batch: model(batch),
        "torch": torch,
    }
