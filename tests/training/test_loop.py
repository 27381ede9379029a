from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from halftrack.precision import Precision
from halftrack.training import read_checkpoint, train
from halftrack.training.loop import batch_seed


def records(out: Path, mode: str) -> list[dict[str, object]]:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    lines = (out / "log.jsonl").read_text().splitlines()
    return [
        row for row in (json.loads(s, parse_constant=refuse) for s in lines) if row["mode"] == mode
    ]


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_batches_make_one_step_with_their_mean_gradient(tiny: ModuleType, tmp_path: Path) -> None:
    config = dataclasses.replace(
        tiny.SHORT,
        epochs=1,
        accumulate=2,
        ema_decay=None,
        lr=0.5,
        momentum=0.0,
        weight_decay=0.0,
        warmup_steps=0,
        milestones=(),
        max_grad_norm=None,
        scale_lr=False,
    )
    model, result = tiny.run(tmp_path, config, batches=tiny.TinySource(2), evaluate=None)
    expected = tiny.TinyModel().train()
    total = torch.zeros((), device="cpu")
    for index, batch in enumerate(tiny.TinySource(2).batches(seed=3, epoch=0)):
        torch.manual_seed(batch_seed(3, 0, index))
        losses = expected(batch)
        total = total + (losses["loss_fit"] + losses["loss_size"]) / 2
    total.backward()
    assert result.steps == 1
    for (name, new), old in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert torch.allclose(new, old - 0.5 * old.grad, atol=1e-6), name


def test_epoch_wraps_around_to_fill_its_last_step(tiny: ModuleType, tmp_path: Path) -> None:
    assert tiny.run(tmp_path)[1].steps == 2 * math.ceil(7 / 2)


def test_skipped_step_moves_nothing_and_names_its_samples(tiny: ModuleType, tmp_path: Path) -> None:
    config = dataclasses.replace(tiny.SHORT, epochs=1, warmup_steps=50)
    states = {}
    for name, source in (
        ("clean", tiny.TinySource(4)),
        ("poisoned", tiny.TinySource(4, poisoned=(0, 2))),
    ):
        tiny.run(tmp_path / name, config, batches=source, precision=Precision("fp16", 8.0))
        states[name] = (
            read_checkpoint(tmp_path / name / "step_1.pth"),
            read_checkpoint(tmp_path / name / "step_2.pth"),
        )
    before, after = states["poisoned"]
    for key, value in before["state_dict"].items():
        assert torch.equal(value, after["state_dict"][key]), key
    for old, new in zip(
        before["optimizer"]["state"].values(), after["optimizer"]["state"].values(), strict=True
    ):
        assert torch.equal(old["momentum_buffer"], new["momentum_buffer"])
    assert after["schedule"] == before["schedule"]
    assert after["average"]["updates"] == before["average"]["updates"] == 1
    assert states["clean"][1]["average"]["updates"] == 2
    (skip,) = [row for row in records(tmp_path / "poisoned", "train") if "sample_ids" in row]
    assert skip["sample_ids"] == ["3/0/2", "3/0/3"]
    assert skip["step"] == 2


def test_losses_without_a_loss_are_an_error(tiny: ModuleType, tmp_path: Path) -> None:
    class Silent(tiny.TinyModel):
        def forward(self, batch: object) -> dict[str, torch.Tensor]:
            return {"acc": super().forward(batch)["acc"]}

    with pytest.raises(ValueError, match=r"no entry named loss.*acc"):
        tiny.run(tmp_path, model=Silent())


def test_numpy_scores_do_not_spoil_the_checkpoint(tiny: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    tiny.run(tmp_path, evaluate=lambda _: {"score": np.float64(0.5)})
    assert read_checkpoint(tmp_path / "best.pth")["meta"]["metrics"] == {"score": 0.5}
    assert read_checkpoint(tmp_path / "step_8.pth")["position"]["best"] == 0.5


def test_a_nan_score_is_never_the_best(tiny: ModuleType, tmp_path: Path) -> None:
    scores = iter([math.nan, 0.5])
    _, result = tiny.run(tmp_path, evaluate=lambda _: {"score": next(scores)})
    assert result.best == 0.5


def test_the_best_epoch_is_kept_and_a_worse_one_is_not(tiny: ModuleType, tmp_path: Path) -> None:
    scores = iter([0.9, 0.1])
    tiny.run(tmp_path, evaluate=lambda _: {"score": next(scores)})
    meta = read_checkpoint(tmp_path / "best.pth")["meta"]
    assert (meta["epoch"], meta["metrics"]) == (0, {"score": 0.9})


def test_a_metric_that_is_not_measured_is_an_error(tiny: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'score' is not measured.*\['other'\]"):
        tiny.run(tmp_path, evaluate=lambda _: {"other": 1.0})


def test_phases_apply_from_their_epoch_on(tiny: ModuleType, tmp_path: Path) -> None:
    from halftrack.training import Phase

    phases = (Phase(first_epoch=0, trainable=("head.*",)), Phase(first_epoch=1, trainable=("*",)))
    config = dataclasses.replace(tiny.SHORT, phases=phases, keep_checkpoints=9, weight_decay=0.0)
    model, _ = tiny.run(tmp_path, config)
    begun = tiny.TinyModel().backbone.weight
    first = read_checkpoint(tmp_path / "step_4.pth")["state_dict"]
    assert torch.equal(first["backbone.weight"], begun)
    assert not torch.equal(model.backbone.weight, begun)


def test_a_folder_with_a_run_is_not_overwritten(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path)
    with pytest.raises(ValueError, match="already holds a run"):
        tiny.run(tmp_path)


def test_a_run_outside_the_main_thread_touches_no_signal_handler(
    tiny: ModuleType, tmp_path: Path
) -> None:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(tiny.run(tmp_path)[1]))
    thread.start()
    thread.join()
    assert results[0].steps == 8


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_gives_the_handlers_back(
    tiny: ModuleType, tmp_path: Path, name: signal.Signals
) -> None:
    before = signal.getsignal(name)
    source = tiny.DyingSource(5, signal_number=name)
    _, result = tiny.run(tmp_path, batches=source)
    assert result.interrupted == name
    assert read_checkpoint(result.checkpoint)["position"]["batches_done"] == 6
    assert signal.getsignal(name) is before


def test_a_second_ctrl_c_acts_at_once(tiny: ModuleType, tmp_path: Path) -> None:
    # A shell starts background processes with SIGINT ignored, and this test with them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:

        class Impatient(tiny.TinySource):
            def batches(self, **where: object) -> Iterator[object]:
                for batch in super().batches(**where):
                    signal.raise_signal(signal.SIGINT)
                    signal.raise_signal(signal.SIGINT)
                    yield batch

        with pytest.raises(KeyboardInterrupt):
            tiny.run(tmp_path, batches=Impatient())
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_folder_is_made_with_those_above_it(tiny: ModuleType, tmp_path: Path) -> None:
    tiny.run(tmp_path / "runs" / "first")
    assert (tmp_path / "runs" / "first" / "log.jsonl").exists()


def test_the_model_trains_in_the_memory_layout_of_the_recipe(
    tiny: ModuleType, tmp_path: Path
) -> None:
    for channels_last in (False, True):
        model = tiny.TinyModel()
        model.images = torch.nn.Conv2d(2, 3, 3, device="cpu")
        config = dataclasses.replace(tiny.SHORT, channels_last=channels_last)
        tiny.run(tmp_path / str(channels_last), config, model=model)
        weight = model.images.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_the_result_has_the_loss_scale_at_the_end(tiny: ModuleType, tmp_path: Path) -> None:
    _, result = tiny.run(tmp_path, precision=Precision("fp16", "dynamic"))
    assert result.skipped > 0
    assert result.loss_scale == read_checkpoint(result.checkpoint)["loss_scale"]["scale"] < 65536.0


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 7), (2, 4)])
def test_log_lines_count_steps_within_the_epoch_and_in_all(
    tiny: ModuleType, tmp_path: Path, accumulate: int, steps: int
) -> None:
    tiny.run(tmp_path, dataclasses.replace(tiny.SHORT, log_every=1, accumulate=accumulate))
    told = [(row["epoch"], row["iter"], row["step"]) for row in records(tmp_path, "train")]
    assert told == [(1 + n // steps, 1 + n % steps, 1 + n) for n in range(2 * steps)]


def test_without_a_seed_it_is_0(tiny: ModuleType, tmp_path: Path) -> None:
    train(
        model=tiny.TinyModel(),
        batches=tiny.TinySource(),
        config=tiny.SHORT,
        precision=Precision(),
        out=tmp_path,
        device=torch.device("cpu"),
    )
    (meta,) = records(tmp_path, "meta")
    assert (meta["seed"], meta["init"], meta["recipe"]) == (0, "none", {})
    assert not records(tmp_path, "val")


@pytest.mark.parametrize(("every", "steps"), [(None, {4, 8}), (3, {3, 4, 6, 8}), (9, {4, 8})])
def test_checkpoints_are_written_every_so_many_steps_and_at_each_epochs_end(
    tiny: ModuleType, tmp_path: Path, every: int | None, steps: set[int]
) -> None:
    tiny.run(tmp_path, dataclasses.replace(tiny.SHORT, checkpoint_every=every, keep_checkpoints=9))
    assert {path.name for path in tmp_path.glob("step_*")} == {f"step_{n}.pth" for n in steps}


@pytest.mark.parametrize(("minutes", "steps"), [(1e-9, set(range(1, 9))), (1000.0, {4, 8})])
def test_checkpoints_are_written_every_so_many_minutes(
    tiny: ModuleType, tmp_path: Path, minutes: float, steps: set[int]
) -> None:
    often = {"checkpoint_every": None, "checkpoint_minutes": minutes, "keep_checkpoints": 9}
    tiny.run(tmp_path, dataclasses.replace(tiny.SHORT, **often))
    assert {path.name for path in tmp_path.glob("step_*")} == {f"step_{n}.pth" for n in steps}


def test_batches_are_pinned_for_a_gpu_alone(tiny: ModuleType, tmp_path: Path) -> None:
    asked: list[object] = []

    class Asked(tiny.TinySource):
        def batches(self, **how: object) -> Iterator[object]:
            asked.append(how["pin"])
            return super().batches(**how)

    tiny.run(tmp_path, batches=Asked())
    assert asked == [False, False]


def test_a_run_to_its_end_gives_the_signal_handlers_back(tiny: ModuleType, tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    tiny.run(tmp_path)
    assert [signal.getsignal(number) for number in numbers] == before
