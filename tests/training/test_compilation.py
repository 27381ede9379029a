"""Compiled parts give the losses and gradients of eager ones, in few compilations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from noise import noisy
from torch import Tensor, nn
from torch._dynamo.utils import counters

from halftrack.errors import UserError
from halftrack.layers import Compilable, fixed_shapes
from halftrack.precision import NonFiniteGradientError, Precision
from halftrack.recipes import TrainedRecipe, load_recipe, override
from halftrack.training import Batch, Learner, TrainingConfig, read_checkpoint
from halftrack.training.compilation import (
    Compilations,
    check_compilation,
    compiled,
    eagerly,
    has_cpp_compiler,
)

# Dynamo looks whether its inputs have a gradient, and torch warns of the question.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")

CPU, GPU, FP32 = torch.device("cpu"), torch.device("cuda"), Precision()
compiling = pytest.mark.skipif(
    not has_cpp_compiler(), reason="torch.compile needs a C++ compiler to compile for a CPU"
)


@pytest.fixture(autouse=True)
def _nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()
    counters.clear()
    with torch._inductor.config.patch(compile_threads=1):
        yield
    assert not counters["graph_break"]
    torch._dynamo.reset()


@contextmanager
def collected(backend: str = "eager") -> Iterator[None]:
    """Ops are collected for a compiler, and computed as they are; aot_eager: backward's too."""
    with torch.compiler.set_stance("default", force_backend=backend):
        yield


def config(**more: object) -> TrainingConfig:
    needed = {"epochs": 1, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "best_metric": "ap"}
    return TrainingConfig(**needed, published_batches_per_step=1, **more)


def tiny_recipe(name: str, *fields: str) -> TrainedRecipe:
    recipe = load_recipe(name).for_training().without_data()
    return override(recipe, ["training.lr=0.0", "training.compile=default", *fields])


def taught(recipe: TrainedRecipe) -> Learner:
    model = compiled(recipe.build_model(seed=0), recipe.training)
    return Learner(model, recipe.training, FP32, device=CPU, batches_per_epoch=1)


def assert_computes_as_eager(learner: Learner, batch: Batch) -> None:
    """Losses and gradients equal within 1e-4."""
    found = []
    for context in (nullcontext(), eagerly(learner.model)):
        learner.optimizer.zero_grad()
        with context:
            losses = learner.gradients(batch, 1)
        gradients = [p.grad.flatten() for p in learner.model.parameters() if p.grad is not None]
        found.append((losses, torch.cat(gradients)))
    (losses, gradient), (expected, exact) = found
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-4, atol=1e-7)
    assert float((gradient - exact).norm() / exact.norm()) < 1e-4


SMALL = {
    "selsa_tiny_sample": ("data.image_scale=(160, 96)",),
    "faster-rcnn_tiny_sample": ("data.image_scale=(160, 96)", "data.crop_size=(96, 160)"),
    "reid_tiny_sample": ("model.crop_size=(64, 32)",),
    "siamese_rpn_tiny_sample": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_compiler_gets_all_that_has_fixed_shapes_and_computes_the_same(name: str) -> None:
    recipe = tiny_recipe(name, *SMALL[name])
    learner = taught(recipe)
    assert list(learner.model.state_dict()) == list(recipe.build_model().state_dict())
    with collected():
        assert_computes_as_eager(learner, noisy(recipe.planned_batch(objects=2)))
    assert counters["stats"]["unique_graphs"] == 1 + name.startswith("faster")


@pytest.mark.slow
def test_folds_recomputed_stages_and_islands_are_compiled_too() -> None:
    fields = ("model.backbone.frozen_bn=True", "model.backbone.recompute=(2, 3)")
    recipe = tiny_recipe("selsa_tiny_sample", *SMALL["selsa_tiny_sample"], *fields)
    learner = taught(recipe)
    replace(FP32, keep_fp32=("detector.neck",)).keep_in_fp32(learner.model)
    with collected("aot_eager"):
        assert_computes_as_eager(learner, noisy(recipe.planned_batch(objects=2)))
    assert counters["stats"]["unique_graphs"] == 1


@compiling
@pytest.mark.slow
def test_inductor_computes_losses_and_gradients_as_eager() -> None:
    name = "selsa_tiny_sample"
    recipe = tiny_recipe(name, *SMALL[name], "model.backbone.frozen_bn=True")
    assert_computes_as_eager(taught(recipe), noisy(recipe.planned_batch(objects=2)))
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["selsa_tiny_sample", "faster-rcnn_tiny_sample"])
def test_20_image_sizes_take_at_most_6_compilations(name: str) -> None:
    recipe = tiny_recipe(name)
    learner, sizes = taught(recipe), set()
    with collected():
        for number in range(20):
            # As images of all shapes from 6:5 to 12:5 are resized.
            shape = 1.2 + 1.2 * number / 19
            size = round(min(96, 160 / shape)), round(min(160, 96 * shape))
            sized = override(recipe, recipe.image_fields(size))
            learner.gradients(noisy(sized.planned_batch(objects=2)), number)
            sizes.add(size)
    assert len(sizes) == 20
    assert counters["stats"]["unique_graphs"] <= 6


class Small(Compilable):
    """Convolutions that can be compiled, and a loss over as many cells as are bright."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))

    @fixed_shapes
    def maps(self, images: Tensor) -> Tensor:
        """Maps of images."""
        maps: Tensor = self.backbone(images)
        return maps

    def forward(self, batch: object) -> dict[str, Tensor]:
        maps = self.maps(batch.x[None, None])
        return {"loss_fit": maps[maps > 0].square().sum()}


@compiling
@pytest.mark.slow
def test_a_compiled_run_resumes_bit_for_bit(
    tiny: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    short = replace(tiny.SHORT, compile="default")
    model, _ = tiny.run(tmp_path / "whole", short, model=Small())
    assert "epoch 1: compilations so far: 1" in capfd.readouterr().err
    with pytest.raises(tiny.Killed):
        tiny.run(tmp_path / "killed", short, model=Small(), batches=tiny.DyingSource(5))
    torch._dynamo.reset()  # as in another process
    again, result = tiny.run(tmp_path / "killed", short, model=Small(), resume=True)
    assert counters["stats"]["unique_graphs"] == 2
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    kept = read_checkpoint(result.checkpoint)["state_dict"]
    assert list(kept) == list(Small().state_dict())


def test_a_step_that_ends_a_compiled_run_is_explained_op_by_op(
    tiny: ModuleType, tmp_path: Path
) -> None:
    class Overflowing(Small):
        def forward(self, batch: object) -> dict[str, Tensor]:
            return {"loss_fit": (self.maps(batch.x[None, None]) * 1e30).square().sum()}

    short = replace(tiny.SHORT, compile="default", ema_decay=None)
    with collected(), pytest.raises(NonFiniteGradientError) as error:
        tiny.run(tmp_path, short, model=Overflowing())
    assert "forward pow" in "".join(error.value.__notes__)


def test_nothing_is_compiled_within_eagerly(tiny: ModuleType) -> None:
    model = compiled(Small(), config(compile="default"))
    batch = tiny.TinyBatch(torch.rand(3, 4), ("a",))
    with eagerly(model):
        model(batch)
    assert not counters["stats"]["unique_graphs"]
    with collected():
        model(batch)
    assert counters["stats"]["unique_graphs"] == 1


def test_compilations_are_told_once(tiny: ModuleType) -> None:
    model, said = compiled(Small(), config(compile="default")), list[str]()
    compilations = Compilations(model)
    with collected():
        for epoch, rows in enumerate((3, 3, 5)):
            model(tiny.TinyBatch(torch.rand(rows, 4), ("a",)))
            compilations.tell(said.append, epoch=epoch)
    assert said == [
        "epoch 1: compilations so far: 1",
        "epoch 3: compilations so far: 2",
    ]
    Compilations(Small()).tell(said.append, epoch=0)
    assert len(said) == 2


@pytest.mark.parametrize("name", ["tf32", "bf16", "fp16"])
def test_a_rehearsal_is_not_compiled(name: str) -> None:
    chosen, precision = config(compile="default"), Precision.named(name)
    message = rf"training.compile='default': {name} is rehearsed on a CPU, .* expected .*'none'"
    with pytest.raises(UserError, match=message):
        check_compilation(chosen, precision, CPU)
    check_compilation(chosen, precision, GPU)
    check_compilation(config(), precision, CPU)


def test_without_a_compiler_a_cpu_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(
        UserError, match=r"compile='default': there is no C\+\+ compiler here; .*CXX"
    ):
        check_compilation(config(compile="default"), FP32, CPU)
    check_compilation(config(), FP32, CPU)
    check_compilation(config(compile="default"), FP32, GPU)


def test_a_model_without_parts_to_compile_is_refused() -> None:
    with pytest.raises(UserError, match=r"compile='default': no part of a Linear can be compiled"):
        compiled(nn.Linear(2, 2), config(compile="default"))
    assert compiled(Small(), config()).compile_mode == "none"
