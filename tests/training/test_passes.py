"""Steps are whole, and clips of one size share a pass as if each had its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from halftrack.errors import UserError
from halftrack.frames import Clip, ClipBatch, Frame, batches_of
from halftrack.precision import Precision
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.training import Learner, read_checkpoint, train
from halftrack.training.loop import batch_seed, steps
from halftrack.training.passes import Pass, passes

CPU = torch.device("cpu")
WIDE, TALL = (64, 96), (96, 64)


def clip(number: int, size: tuple[int, int] = WIDE) -> Clip:
    generator = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (3, 3, *size), generator=generator, dtype=torch.uint8)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 44.0], [20.0, 12.0, 60.0, 60.0]])[: 1 + number % 2]
    labels = torch.arange(len(boxes))
    frames = [
        Frame(
            image=image,
            sample_id=f"{number}/{i}",
            boxes_xyxy=boxes,
            labels=labels,
        )
        for i, image in enumerate(images)
    ]
    return Clip(key=frames[0], references=tuple(frames[1:]))


class Clips:
    """A source of clips, all of one size."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def batches(
        self, *, seed: int, epoch: int, places: Sequence[int], workers: int, pin: bool
    ) -> Iterator[Clip]:
        for index in places:
            yield clip(index % self._count)


def recipe(*fields: str) -> TrainedRecipe:
    made = load_recipe("selsa_tiny_sample")
    assert isinstance(made, TrainedRecipe)
    return override(made, ["model.backbone.frozen_bn=True", "training.workers=0", *fields])


def numbers(taken: list[Pass]) -> list[list[str]]:
    return [
        [each.key.sample_id[:-2] for each in batch.clips]
        for batch, _ in taken
        if isinstance(batch, ClipBatch)
    ]


def test_steps_are_whole_and_their_passes_hold_so_many_clips() -> None:
    config = recipe("training.accumulate=4", "training.clips_per_pass=2").training
    taken = list(steps(((clip(i), i) for i in range(9)), config))
    assert [numbers(step) for step in taken] == [[["0", "1"], ["2", "3"]], [["4", "5"], ["6", "7"]]]
    assert [[seed for _, seed in step] for step in taken] == [[0, 2], [4, 6]]
    assert [batches_of(batch) for step in taken for batch, _ in step] == [2] * 4
    alone = list(steps([(clip(0), 5)], replace(config, accumulate=1, clips_per_pass=1)))
    assert alone[0][0][1] == 5
    assert batches_of(alone[0][0][0]) == 1


def test_clips_of_other_sizes_do_not_share_a_pass() -> None:
    sizes = (WIDE, TALL, WIDE, WIDE, TALL)
    step = [(clip(i, size), 10 + i) for i, size in enumerate(sizes)]
    taken = passes(step, 4)
    assert numbers(taken) == [["0", "2", "3"], ["1", "4"]]
    assert [batch.seeds for batch, _ in taken] == [(10, 12, 13), (11, 14)]


def test_batches_that_are_no_clips_are_refused(tiny: ModuleType) -> None:
    (batch,) = tiny.TinySource(1).batches(seed=0, epoch=0)
    with pytest.raises(UserError, match=r"training.clips_per_pass=2: a TinyBatch is no clip"):
        passes([(batch, 0)], 2)


@pytest.mark.parametrize("together", [2, 4])
def test_a_pass_of_clips_equals_their_accumulation(together: int) -> None:
    seeded = [(clip(i), batch_seed(3, 0, i)) for i in range(4)]
    rows = []
    model = recipe().build_model()
    for share in (1, together):
        made = recipe("training.accumulate=4", f"training.clips_per_pass={share}")
        learner = Learner(
            copy.deepcopy(model), made.training, Precision(), device=CPU, batches_per_epoch=4
        )
        sums: dict[str, float] = {}
        (step,) = steps(seeded, made.training)
        for batch, seed in step:
            for name, loss in learner.gradients(batch, seed).items():
                sums[name] = sums.get(name, 0.0) + loss.item() * batches_of(batch) / 4
        rows.append(sums | {"grad_norm": learner.step().grad_norm})
    assert rows[1] == pytest.approx(rows[0], rel=1e-4)


def logged(folder: Path, *fields: str, resume: bool = False) -> torch.nn.Module:
    made = recipe("training.epochs=1", "training.checkpoint_every=1", *fields)
    model = made.build_model()
    train(
        model=model,
        batches=Clips(6),
        config=made.training,
        precision=Precision(),
        out=folder,
        device=CPU,
        resume=resume,
    )
    return model


def test_a_run_with_shared_passes_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    fields = ("training.accumulate=2", "training.clips_per_pass=2")
    whole = logged(tmp_path / "run", *fields)
    steps_kept = sorted((tmp_path / "run").glob("step_*.pth"))
    assert [path.name for path in steps_kept] == ["step_2.pth", "step_3.pth"]
    steps_kept[1].unlink()
    assert read_checkpoint(steps_kept[0])["position"]["batches_done"] == 4
    resumed = logged(tmp_path / "run", *fields, resume=True)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
