"""A precision is decided once, and its fp32 islands are each model's own."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from halftrack.precision import (
    DynamicLossScale,
    NoLossScale,
    Precision,
    StaticLossScale,
    fp32_island,
    rehearsal,
    remove_islands,
)
from halftrack.precision.rehearsal import is_rehearsing

FP16 = Precision("fp16", 1.0)
SWITCHES = {
    "matmul": torch.backends.cuda.matmul,
    "conv": torch.backends.cudnn.conv,
    "rnn": torch.backends.cudnn.rnn,
    "cpu matmul": torch.backends.mkldnn.matmul,
    "cpu conv": torch.backends.mkldnn.conv,
}
X = torch.ones(1, 2)


class Inner(nn.Module):
    """Computes by another method than forward too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)
        nn.init.constant_(self.layer.weight, 0.5)
        self.register_buffer("offset", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x) + self.offset

    def embed(self, x: Tensor) -> Tensor:
        return torch.mm(x, self.layer.weight)

    @staticmethod
    def doubled(x: Tensor) -> Tensor:
        return x * 2

    @property
    def width(self) -> int:
        return 2


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.head = nn.Linear(2, 2, bias=False)
        nn.init.constant_(self.head.weight, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x))


class Extended(Inner):
    """Calls what it overrides."""

    def embed(self, x: Tensor) -> Tensor:
        return super().embed(x).neg()


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "oldest pickle": lambda model: pickle.loads(pickle.dumps(model, protocol=0)),
    "torch.save": saved,
}
copied = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)


def islands(*patterns: str) -> Outer:
    model = Outer()
    Precision("fp16", 1.0, patterns).keep_in_fp32(model)
    return model


def dtype_of(function: Callable[[Tensor], Tensor], x: Tensor = X) -> torch.dtype:
    with FP16.inference("cpu"):
        return function(x.half()).dtype


@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16", "fp16"])
def test_inference_has_the_precisions_arithmetic_and_no_gradients(name: str) -> None:
    precision, layer = Precision.named(name), nn.Linear(2, 2)
    with precision.inference("cpu"):
        answer = layer(torch.ones(1, 2))
        assert is_rehearsing() == precision.is_half
    assert answer.dtype == precision.dtype
    assert not answer.requires_grad
    assert torch.is_grad_enabled()
    assert not is_rehearsing()


def test_every_method_that_computes_is_an_island_and_nothing_else_changes() -> None:
    model = islands("inner")
    inner = model.inner
    assert dtype_of(model) == torch.float16
    assert dtype_of(inner) == dtype_of(inner.embed) == torch.float32
    assert dtype_of(inner.doubled) == torch.float16
    assert inner.width == 2
    assert isinstance(inner, Inner)
    assert repr(model) == repr(Outer())
    assert list(model.state_dict()) == list(Outer().state_dict())


@copied
def test_a_copy_has_islands_of_its_own(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    model = islands("inner")
    other = duplicate(model)
    assert dtype_of(other.inner) == dtype_of(other.inner.embed) == torch.float32
    assert type(other.inner) is type(model.inner)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert (other(X) == 0).all()
    assert (other.inner.embed(X) == 0).all()
    assert (model(X) == 2).all()


def test_a_weight_average_made_by_copying_computes_with_its_own_weights() -> None:
    model = islands("inner", "head")
    average = torch.optim.swa_utils.AveragedModel(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert (average(X) == 2).all()
    assert (model(X) == 0).all()


def test_weights_are_loaded_into_islands_and_out_of_them() -> None:
    model, plain = islands("inner"), Outer()
    with torch.no_grad():
        plain.inner.layer.weight.fill_(2.0)
    model.load_state_dict(plain.state_dict())
    assert torch.equal(model(X), plain(X))
    plain.load_state_dict(islands("inner").state_dict(), assign=True)
    assert (plain(X) == 2).all()


def test_islands_are_removed() -> None:
    model = islands("inner", "inner.layer", "head")
    other = copy.deepcopy(model)
    remove_islands(model)
    assert [type(module) for module in model.modules()] == [Outer, Inner, nn.Linear, nn.Linear]
    assert dtype_of(model.inner.embed) == dtype_of(model.head) == torch.float16
    assert dtype_of(other.head) == torch.float32
    remove_islands(model)
    FP16.keep_in_fp32(model)
    assert dtype_of(model) == torch.float16
    Precision("fp16", 1.0, ("head",)).keep_in_fp32(model)
    assert dtype_of(model) == torch.float32


@copied
def test_islands_within_islands(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    model = islands("inner.layer")
    Precision("fp16", 1.0, ("inner", "inner.*")).keep_in_fp32(model)
    other = duplicate(model)
    assert dtype_of(other.inner) == dtype_of(other.inner.layer) == torch.float32
    remove_islands(other)
    assert [type(module) for module in other.modules()] == [Outer, Inner, nn.Linear, nn.Linear]


def test_what_a_subclass_overrides_and_calls_stays_within_the_island() -> None:
    model = nn.Sequential(Extended())
    Precision("fp16", 1.0, ("0",)).keep_in_fp32(model)
    assert dtype_of(model[0].embed) == torch.float32
    assert (model(X) == -1).all()


def test_a_module_that_pickles_itself_stays_an_island() -> None:
    model = islands("inner")
    model.add_module("frozen", Made(3.0))
    Precision("fp16", 1.0, ("frozen",)).keep_in_fp32(model)
    for duplicate in COPIES.values():
        other = duplicate(model).frozen
        assert isinstance(other, Made)
        assert dtype_of(other) == torch.float32
        assert (other(X) == 3).all()


class Made(nn.Module):
    """Copied by its constructor, as a module that wraps something foreign may be."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def __reduce__(self) -> tuple[type[Made], tuple[float]]:
        return type(self), (self.factor,)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_a_lazy_module_stays_an_island_once_it_has_its_weights() -> None:
    model = nn.Sequential(nn.LazyLinear(2))
    Precision("fp16", 1.0, ("0",)).keep_in_fp32(model)
    assert dtype_of(model) == torch.float32
    assert dtype_of(model) == torch.float32
    remove_islands(model)
    assert type(model[0]) is nn.Linear


class Decorated(nn.Module):
    """An island by decoration, and one made of a bound method."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))
        self.score = fp32_island(self.product)

    def product(self, x: Tensor) -> Tensor:
        return torch.mm(x, self.weight)

    @fp32_island
    def forward(self, x: Tensor) -> Tensor:
        return torch.mm(x, self.weight)


@copied
def test_decorated_islands_are_copied(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    other = duplicate(Decorated())
    assert dtype_of(other) == dtype_of(other.score) == torch.float32
    assert dtype_of(other.product) == torch.float16
    with torch.no_grad():
        other.weight.zero_()
    assert (other(X) == 0).all()
    assert (other.score(X) == 0).all()


def test_bookkeeping_is_no_island() -> None:
    class Kept(Inner):
        def reset_parameters(self) -> None:
            nn.init.constant_(self.layer.weight, 0.5)

        def extra_repr(self) -> str:
            return "kept"

        def __len__(self) -> int:
            return 2

    model = nn.Sequential(Kept())
    Precision("fp16", 1.0, ("0",)).keep_in_fp32(model)
    own = {name for name, value in vars(type(model[0])).items() if callable(value)}
    assert own >= {"forward", "embed"}
    assert not own & {"reset_parameters", "extra_repr", "__len__", "__init__"}


def test_tensors_in_lists_tuples_and_keywords_are_widened() -> None:
    seen: list[torch.dtype] = []

    @fp32_island
    def watch(values: object, *, more: tuple[Tensor, int]) -> None:
        assert type(values) is list
        assert more[1] == 7
        seen.extend((values[0].dtype, values[1][0].dtype, more[0].dtype))

    half = X.half()
    watch([half, (half,)], more=(half, 7))
    assert seen == [torch.float32] * 3


def test_the_islands_made_are_told() -> None:
    precision = Precision("fp16", 1.0, ("head", "inner*"))
    assert precision.keep_in_fp32(Outer()) == ("head", "inner", "inner.layer")
    assert FP16.keep_in_fp32(Outer()) == ()


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_path() -> None:
    with pytest.raises(ValueError, match=r"'haed' matches no module; the nearest are head"):
        islands("head", "haed")


@pytest.mark.parametrize(
    ("precision", "kind", "value"),
    [
        (Precision(), NoLossScale, 1.0),
        (Precision("tf32"), NoLossScale, 1.0),
        (Precision("bf16"), NoLossScale, 1.0),
        (Precision("fp16"), StaticLossScale, 1.0),
        (Precision("fp16", 512.0), StaticLossScale, 512.0),
        (Precision("fp16", "dynamic"), DynamicLossScale, 65536.0),
    ],
)
def test_the_precision_decides_the_loss_scale(
    precision: Precision, kind: type, value: float
) -> None:
    scale = precision.new_loss_scale()
    assert type(scale) is kind
    assert scale.value == value


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("fp8", None, "'fp8' is not one of fp32, tf32, bf16, fp16"),
        ("fp32", 1.0, "only fp16 needs a loss scale"),
        ("tf32", 512.0, "only fp16 needs a loss scale"),
        ("bf16", "dynamic", "only fp16 needs a loss scale"),
        *(
            ("fp16", bad, "is not None, 'dynamic' or a positive number")
            for bad in (True, False, "static", 0.0, -1.0, 1e30, float("inf"), float("nan"))
        ),
    ],
)
def test_a_precision_that_cannot_be_is_refused(name: str, scale: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Precision(name, scale)  # type: ignore[arg-type]


def test_a_cpu_rehearses_all_but_fp32_and_a_gpu_nothing() -> None:
    names = ("fp32", "tf32", "bf16", "fp16")
    assert [Precision.named(name).is_rehearsed("cpu") for name in names] == [False, *[True] * 3]
    assert not any(Precision.named(name).is_rehearsed("cuda:0") for name in names)


def test_autocast_alone_rehearses_too() -> None:
    with FP16.autocast("cpu"):
        assert is_rehearsing()
    assert not is_rehearsing()


def test_cast_weights_are_kept_until_the_outermost_autocast_ends() -> None:
    layer, kept = nn.Linear(2, 2, bias=False), []
    with FP16.arithmetic("cpu"):
        with FP16.autocast("cpu"):
            layer(X)
            kept.append(len(rehearsal._cast_weights))
            with FP16.autocast("cpu"):
                layer(X)
            kept.append(len(rehearsal._cast_weights))
        kept.append(len(rehearsal._cast_weights))
    assert kept == [1, 1, 0]


def switches() -> dict[str, str]:
    return {name: switch.fp32_precision for name, switch in SWITCHES.items()}


@pytest.mark.parametrize(
    ("name", "device", "on_a_gpu"),
    [
        ("fp32", "cuda", "ieee"),
        ("tf32", "cuda", "tf32"),
        ("fp16", "cuda", "ieee"),
        ("bf16", "cuda", "ieee"),
        ("tf32", "cpu", "ieee"),
    ],
)
def test_the_switches_are_set_for_forward_and_backward_and_put_back(
    name: str, device: str, on_a_gpu: str
) -> None:
    before = switches()
    precision = Precision.named(name)
    with precision.arithmetic(device):
        inside = switches()
        with precision.arithmetic(device):
            pass
        assert switches() == inside
    assert switches() == before
    assert inside == {key: "ieee" if "cpu" in key else on_a_gpu for key in inside}


def test_the_switches_are_put_back_after_an_error_too() -> None:
    before = switches()
    with pytest.raises(KeyError), Precision("tf32").arithmetic("cuda"):
        raise KeyError
    assert switches() == before


def test_a_compiler_reads_islands_of_functions_and_modules() -> None:
    @fp32_island
    def product(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    Precision("bf16", keep_fp32=("1",)).keep_in_fp32(model)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: product(model(x)), backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = compiled(torch.ones(4, 4))
        assert found.dtype == torch.float32
        assert torch.equal(found, product(model(torch.ones(4, 4))))
    torch._dynamo.reset()
