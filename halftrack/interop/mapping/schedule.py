"""Rules for all trainings of MMTracking: optimizer, learning rate, precision, length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from halftrack.errors import UserError
from halftrack.interop.configs.sections import Section
from halftrack.interop.mapping.rules import KEEP, Field, Fields, Key, Rule, Skip

__all__ = ["MACHINERY", "checked", "precision", "schedule"]

MACHINERY: dict[str, Rule] = {
    name: Skip()
    for name in (
        *("USE_MMDET", "TRAIN_REID", "search_metrics", "log_config", "log_level", "dist_params"),
        *("workflow", "opencv_num_threads", "mp_start_method", "find_unused_parameters"),
        *("cudnn_benchmark", "checkpoint_config", "custom_hooks", "custom_imports", "work_dir"),
        *("gpu_ids", "auto_resume", "device", "auto_scale_lr", "default_scope", "profiler"),
        *("deterministic", "data.workers_per_gpu", "data.persistent_workers", "data.pin_memory"),
        *("evaluation.metric", "evaluation.start", "evaluation.rule", "evaluation.by_epoch"),
        *("evaluation.gpu_collect", "evaluation.tmpdir", "data.val_dataloader"),
        *("data.test_dataloader", "data.train_dataloader", "lr_config.by_epoch"),
    )
}
"""Keys that concern their machinery alone: hooks, loggers, processes, folders."""

_METRICS = {
    "bbox_mAP_50": "coco_ap50",
    "success": "success",
    "precision": "precision",
    "norm_precision": "norm_precision",
    "mAP": "mAP",
    "R1": "rank1",
}


def checked(key: Key, allowed: Sequence[str]) -> Section:
    """The section that a key holds, with no other keys than these.

    Raises:
        ConfigError: if it is none, or has others.
    """
    section = key.value
    if not isinstance(section, Section):
        raise key.refused("expected dict(...)")
    for name, value in section.items():
        if name not in allowed:
            inside = Key(f"{key.path}.{name}", value, section.places[name])
            raise inside.refused(
                f"it has no counterpart here; in {key.path} there are {', '.join(allowed)}"
            )
    return section


def precision() -> dict[str, Rule]:
    """The rule for ``fp16``, without which a model computes in fp32."""

    def several(key: Key, fields: Fields) -> None:
        if key.value is None:
            fields.put("precision.name", "fp32", None)
            fields.put("precision.loss_scale", None, None)
            return
        scale = checked(key, ("loss_scale",)).get("loss_scale", "dynamic")
        if isinstance(scale, Section):
            raise UserError(
                "settings of a dynamic loss scale are not read; expected loss_scale='dynamic' or a "
                "number"
            )
        fields.put("precision.name", "fp16", key)
        fields.put("precision.loss_scale", scale, key)

    return {"fp16": Field("precision.loss_scale", default=None, several=several)}


def schedule(*, published_interval: int) -> dict[str, Rule]:
    """Rules for a training.

    Args:
        published_interval: epochs between evaluations in the published configs, in the place of
            which our recipes have their own.
    """
    return {
        "optimizer": Field("training.lr", several=_optimizer),
        "optimizer_config": Field("training.max_grad_norm", default=None, several=_clipping),
        "lr_config": Field("training.milestones", several=_learning_rate),
        "total_epochs": Field("training.epochs", default=KEEP),
        "runner": Field("training.epochs", default=KEEP, several=_runner),
        "evaluation.interval": Field(
            "training.evaluate_every", default=KEEP, published=(published_interval,)
        ),
        "evaluation.save_best": Field(
            "training.best_metric", _metric, default=KEEP, published=("auto", "eao")
        ),
        "compile": Field("training.compile", _compile, default=KEEP),
        "seed": Skip("their seed draws other numbers; ours is --seed"),
        "load_from": Field("--init", default=KEEP, several=_load_from),
        "resume_from": Skip(
            "a run goes on in the folder of its checkpoints: the same command and --out"
        ),
        **precision(),
        **MACHINERY,
    }


def _compile(value: Any) -> str:
    """MMEngine's key, which people bring along: True, or a section with the mode."""
    if isinstance(value, Section) and not value.keys() - {"mode"}:
        return str(value.get("mode", "default"))
    if not isinstance(value, bool):
        raise UserError("expected True, False or dict(mode='default' or 'reduce-overhead')")
    return "default" if value else "none"


def _optimizer(key: Key, fields: Fields) -> None:
    names = ("type", "lr", "momentum", "weight_decay", "paramwise_cfg")
    section = checked(key, names)
    if section.get("type") != "SGD":
        raise key.refused(f"type={section.get('type')!r}: here it is 'SGD'")
    if "lr" not in section:
        raise key.refused("there is no lr, which sets training.lr here")
    for name, default in (("lr", None), ("momentum", 0.0), ("weight_decay", 0.0)):
        place = section.places.get(name, key.place)
        inside = Key(f"{key.path}.{name}", section.get(name, default), place)
        fields.put(f"training.{name}", inside.value, inside)
    fields.put("training.lr_factors", tuple(_lr_factors(section)), key)


def _lr_factors(optimizer: Section) -> list[tuple[str, Any]]:
    """Patterns of parameter names, and factors of their learning rate."""
    if optimizer.get("paramwise_cfg") is None:
        return []
    place = optimizer.places["paramwise_cfg"]
    key = Key("optimizer.paramwise_cfg", optimizer["paramwise_cfg"], place)
    factors = []
    settings = checked(key, ("custom_keys",))
    custom = Key(f"{key.path}.custom_keys", settings.get("custom_keys"), place)
    if not isinstance(custom.value, Section):
        raise custom.refused("expected dict(...)")
    for name, value in custom.value.items():
        inside = Key(f"{custom.path}.{name}", value, custom.value.places[name])
        section = checked(inside, ("lr_mult", "decay_mult"))
        if section.get("decay_mult", 1) != 1:
            raise inside.refused("decay_mult: here it is 1; training.weight_decay is of all")
        if section.get("lr_mult", 1) != 1:
            factors.append((f"{name}.*", section["lr_mult"]))
    return factors


def _clipping(key: Key, fields: Fields) -> None:
    """The rule for ``optimizer_config``: clipping, accumulation, SiamRPN++'s thawing backbone."""
    siamese = ("backbone_start_train_epoch", "backbone_train_layers")
    hooks = {
        "OptimizerHook": (),
        "Fp16OptimizerHook": ("loss_scale", "distributed"),
        "GradientCumulativeOptimizerHook": ("cumulative_iters",),
        "SiameseRPNOptimizerHook": siamese,
        "SiameseRPNFp16OptimizerHook": siamese,
    }
    fields.put("training.max_grad_norm", None, None)
    if key.value is None:
        return
    kind = key.value.get("type", "OptimizerHook") if isinstance(key.value, Section) else ""
    if not isinstance(kind, str) or (kind and kind not in hooks):
        raise key.refused(f"type={kind!r}: here it is one of {', '.join(hooks)}")
    section = checked(key, ("type", "grad_clip", *hooks.get(kind, ())))
    if section.get("grad_clip") is not None:
        inside = Key(f"{key.path}.grad_clip", section["grad_clip"], section.places["grad_clip"])
        clip = checked(inside, ("max_norm", "norm_type"))
        if clip.get("norm_type", 2) != 2:
            raise inside.refused("norm_type: here it is 2")
        fields.put("training.max_grad_norm", clip.get("max_norm"), inside)
    if "cumulative_iters" in section:
        fields.put("training.accumulate", section["cumulative_iters"], key)
    if kind.startswith("Siamese"):
        if missing := [name for name in siamese if name not in section]:
            raise key.refused(f"there is no {missing[0]}, which sets training.phases here")
        epoch, layers = (section[name] for name in siamese)
        if not isinstance(layers, list | tuple) or not all(isinstance(x, str) for x in layers):
            raise key.refused("backbone_train_layers: expected names of layers")
        thawed = tuple(f"backbone.{layer}.*" for layer in layers)
        phase = {
            "first_epoch": epoch,
            "trainable": ("neck.*", "head.*", *thawed),
            "batch_statistics": thawed,
        }
        fields.put("training.phases", (phase,), key)


def _learning_rate(key: Key, fields: Fields) -> None:
    """The rule for ``lr_config``: steps with a warm-up, or SiamRPN++'s ramps."""
    policy = key.value.get("policy") if isinstance(key.value, Section) else None
    if policy == "SiameseRPN":
        fields.put("training.ramps", _ramps(key), key)
        settings: dict[str, Any] = {"warmup_steps": 0, "milestones": ()}
    elif policy == "step":
        settings = _steps(key)
    else:
        raise key.refused(
            f"policy={policy!r}: here it is 'step' (training.milestones) or 'SiameseRPN' "
            "(training.ramps)"
        )
    for name, value in settings.items():
        fields.put(f"training.{name}", value, key)


def _steps(key: Key) -> dict[str, Any]:
    names = ("policy", "step", "gamma", "warmup", "warmup_iters", "warmup_ratio", "by_epoch")
    section = checked(key, names)
    warmup, step = section.get("warmup"), section.get("step")
    if warmup not in (None, "linear"):
        raise key.refused(f"warmup={warmup!r}: here it is None or 'linear'")
    if section.get("by_epoch", True) is not True:
        raise key.refused("by_epoch: here it is True, training.milestones are epochs")
    if not isinstance(step, list | tuple):
        raise key.refused(f"step={step!r}: expected a list of epochs (training.milestones)")
    settings = {"milestones": step, "ramps": ()} | (
        {"gamma": section.get("gamma", 0.1)} if step else {"gamma": 1.0}
    )
    if warmup is None:
        return settings | {"warmup_steps": 0}
    if "warmup_iters" not in section:
        raise key.refused("there is no warmup_iters, which sets training.warmup_steps here")
    ratio = section.get("warmup_ratio", 0.1)
    return settings | {"warmup_steps": section["warmup_iters"], "warmup_ratio": ratio}


def _ramps(key: Key) -> list[dict[str, Any]]:
    section, ramps, begins = checked(key, ("policy", "lr_configs")), [], 0
    given = section.get("lr_configs")
    if not isinstance(given, list | tuple) or not given:
        raise key.refused("lr_configs: expected a list of dict(type=..., ...)")
    for index, each in enumerate(given):
        inside = Key(f"{key.path}.lr_configs.{index}", each, getattr(each, "place", key.place))
        names = ("type", "start_lr_factor", "end_lr_factor", "end_epoch")
        ramp = checked(inside, names)
        if ramp.get("type") not in ("step", "log"):
            raise inside.refused(f"type={ramp.get('type')!r}: here it is 'step' or 'log'")
        if missing := [name for name in names if name not in ramp]:
            raise inside.refused(f"there is no {missing[0]}, which sets training.ramps here")
        end = ramp["end_epoch"]
        if not isinstance(end, int):
            raise inside.refused("end_epoch: expected a whole number")
        ramps.append(
            {
                "epochs": end - begins,
                "start": ramp["start_lr_factor"],
                "end": ramp["end_lr_factor"],
                "arrives": ramp["type"] == "log",
            }
        )
        begins = end
    return ramps


def _runner(key: Key, fields: Fields) -> None:
    section = checked(key, ("type", "max_epochs"))
    if section.get("type") != "EpochBasedRunner" or "max_epochs" not in section:
        raise key.refused("here it is dict(type='EpochBasedRunner', max_epochs=N)")
    place = section.places["max_epochs"]
    inside = Key("runner.max_epochs", section["max_epochs"], place)
    fields.put("training.epochs", inside.value, inside)


def _metric(name: Any) -> str | None:
    if name not in _METRICS:
        raise UserError(f"expected one of {', '.join(map(repr, _METRICS))}")
    return _METRICS[name]


def _load_from(key: Key, fields: Fields) -> None:
    if key.value is None:
        return
    if not isinstance(key.value, str):
        raise key.refused("expected a path")
    if key.value.startswith(("http://", "https://")):
        fields.notes.append(f"{key} ({key.place}): download it and give it with --init")
    else:
        fields.init = key.value
