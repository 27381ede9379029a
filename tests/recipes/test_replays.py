"""A replay says whether anything has changed."""

from __future__ import annotations

import dataclasses

from halftrack.precision import Culprit, Precision
from halftrack.recipes import Replay
from halftrack.training.files.bundle import ReplayBundle

BUNDLE = ReplayBundle(
    recipe={"name": "tiny"},
    precision=Precision("fp16", 512.0),
    loss_scale=512.0,
    step=12,
    epoch=1,
    batches=(),
    seeds=(),
    weights={},
    device="cpu",
    culprit=None,
    versions={},
)
CULPRIT = Culprit(
    where="head.fc",
    operation="addmm",
    direction="backward",
    kind="overflow",
    loss_term="loss_cls",
    sample_ids=("a",),
    bad_samples=(),
    dtype="float16",
    loss_scale=512.0,
    magnitude=70000.0,
    fits_at=256.0,
)


def test_a_large_scale_is_told_to_its_last_digit() -> None:
    kept = dataclasses.replace(BUNDLE, loss_scale=2.0**20)
    assert Replay(bundle=kept, found=None).lines()[0].endswith("at loss scale 1048576")


def test_a_replay_says_what_it_found_and_what_was_recorded() -> None:
    assert Replay(bundle=BUNDLE, found=None).lines() == [
        "tiny: step 12, epoch 2, fp16 at loss scale 512",
        "found: nothing, its gradients are finite",
        "the same as recorded",
    ]
    other = Replay(bundle=BUNDLE, found=CULPRIT)
    assert not other.same
    assert other.lines()[1:] == [
        "found: backward addmm in head.fc for loss_cls reached 7e+04, float16 ends at 65504; "
        "the step fits at loss scale 256 or less (was 512)",
        "recorded: nothing, its gradients were finite",
    ]
