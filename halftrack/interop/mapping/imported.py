"""A config of MMTracking as a recipe: the published one that is nearest, with what differs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from halftrack.bounds import shown
from halftrack.interop.configs.files import Config, read_config
from halftrack.interop.configs.sections import ConfigError, Place, Section
from halftrack.interop.mapping import mot, reid, sot, vid
from halftrack.interop.mapping.pipelines import by_step
from halftrack.interop.mapping.rules import Fields, Key, Rules, apply
from halftrack.recipes.names import RECIPES, load_recipe

if TYPE_CHECKING:
    from halftrack.recipes import Recipe

__all__ = ["ImportedConfig", "import_config"]


@dataclass(frozen=True)
class _Kind:
    """A kind of config: its rules, and the file of published recipes that it is like."""

    published: str
    rules: Callable[[Section], Rules]
    prepared: Callable[[Section], Section] = lambda values: values


_KINDS = {
    "SELSA": _Kind("selsa", vid.rules, vid.prepared),
    "Tracktor": _Kind("tracktor", mot.tracker_rules),
    "SiamRPN": _Kind("siamrpn", sot.rules, sot.prepared),
}
_DETECTOR = _Kind("faster_rcnn", mot.detector_rules)
_REID = _Kind("reid", reid.rules)


@dataclass(frozen=True, kw_only=True)
class ImportedConfig:
    """A config as the fields of a recipe."""

    config: Config
    """The config as it was read."""
    fields: Fields
    """Recipe fields and the keys that set them."""
    published: str
    """File of ``halftrack.recipes.published`` with the recipes of this kind."""

    @property
    def name(self) -> str:
        """The recipe's name: the file's."""
        return self.config.path.stem

    @property
    def init(self) -> str | None:
        """File that the training starts from, if the config names one."""
        return self.fields.init

    def notes(self) -> list[str]:
        """Lines on keys that mean something else here, or change nothing."""
        return [*self.fields.notes, *_changing_nothing(self.config), *_val_differs(self.config)]

    def not_needed(self) -> list[str]:
        """Keys that concern MMTracking's machinery alone, or nothing that is done here."""
        return sorted({key.path for key in self.fields.skipped if "." not in key.path})

    def base(self) -> Recipe:
        """The published recipe of this kind with the fewest other fields."""
        names = [name for name in RECIPES if self._is_alike(name)]
        # The one of the same name first: of equals it is taken.
        names.sort(key=lambda name: name != self.name)
        recipes = [load_recipe(name) for name in names]
        return min(recipes, key=lambda recipe: len(self.differing(recipe)))

    def recipe(self) -> Recipe:
        """The recipe: the base with the fields in which the config differs.

        Raises:
            ConfigError: for a value that a recipe does not take; names its key, file and line.
        """
        from halftrack.recipes.kinds.settings import FieldError, override

        base = self.base()
        differing = self.differing(base)
        try:
            recipe = override(base, differing)
            if differing or self.name != base.name:
                words = f"{base.name} as {self.config.path.name} changes it"
                recipe = override(recipe, {"name": self.name, "summary": words})
        except FieldError as error:
            key = self._key_of(error.field, str(error))
            place = Place(str(self.config.path)) if key is None else key.place
            told = f"{error}" if key is None else f"{key}: {error}"
            raise ConfigError(place, told) from error
        for path, value in self.differing(recipe).items():  # a text that is read as a number
            key = self.fields.keys.get(path) or Key(path, value, Place(str(self.config.path)))
            taken = shown(attrgetter(path)(recipe))
            raise key.refused(f"{path} would be {taken} here: write it like that")
        for key, rule in self.fields.derived:
            _check_derived(key, rule.value(recipe), rule.ours)
        return recipe

    def _is_alike(self, name: str) -> bool:
        file = RECIPES[name].function.partition(":")[0]
        return file == self.published and not name.endswith("_tiny_sample")

    def differing(self, recipe: Recipe) -> dict[str, Any]:
        """The fields in which a recipe differs from the config."""
        from halftrack.recipes.kinds.settings import plain

        return {
            path: value
            for path, value in self.fields.values.items()
            if plain(attrgetter(path)(recipe)) != plain(value)
        }

    def _key_of(self, path: str, told: str) -> Key | None:
        """The key that set a field, or one of a group's fields that an error names."""
        keys = self.fields.keys
        if path in keys:
            return keys[path]
        group = f"{path}." if path else ""
        inside = [each for each in keys if each.startswith(group)]
        named = [each for each in inside if f"{each.removeprefix(group)}=" in told]
        # Of the fields in an error that is about several the first one is at fault.
        named.sort(key=lambda each: told.index(f"{each.removeprefix(group)}="))
        return keys[(named or inside)[0]] if inside else None


def import_config(path: str | os.PathLike[str], options: Sequence[str] = ()) -> ImportedConfig:
    """Read a config of MMTracking and find the recipe fields that it sets; imports no torch.

    Args:
        path: the config's file.
        options: ``key=value`` texts as ``--cfg-options`` takes them.

    Raises:
        ConfigError: for what cannot be read and keys without a counterpart; names file and line.
    """
    config = read_config(path, options)
    kind = _kind(config)
    values = by_step(kind.prepared(config.values))
    rules = kind.rules(values)
    fields = apply(rules, _without_helpers(values, config, rules), str(config.path))
    return ImportedConfig(config=config, fields=fields, published=kind.published)


def _kind(config: Config) -> _Kind:
    file = Place(str(config.path))
    model = config.values.get("model")
    if not isinstance(model, Section):
        raise ConfigError(file, "there is no model=dict(...): no config of MMTracking")
    if "type" in model:
        kind = model["type"]
        if isinstance(kind, str) and kind in _KINDS:
            return _KINDS[kind]
        raise Key("model.type", kind, model.places["type"]).refused(
            f"no such method here; there are {', '.join(_KINDS)}, and models of a detector or a "
            "reid alone"
        )
    for part, found in (("detector", _DETECTOR), ("reid", _REID)):
        if part in model:
            return found
    raise ConfigError(
        config.values.places["model"],
        f"model has no type; expected one of {', '.join(_KINDS)}, or a detector or a reid",
    )


def _without_helpers(values: Section, config: Config, rules: Rules) -> Section:
    """The values without names that only serve other values, as ``data_root`` does."""
    known = {path.partition(".")[0] for path in rules}
    used = frozenset().union(*config.used.values())
    kept = values.shallow()
    for name in values:
        if name not in known and name in used:
            del kept[name]
    return kept


def _changing_nothing(config: Config) -> Iterator[str]:
    """Lines on names that a base file's values were made of, and that are given anew in vain."""
    for name, place in config.values.places.items():
        elsewhere = any(name in used for file, used in config.used.items() if file != place.file)
        if place.line and elsewhere and name not in config.used.get(place.file, ()):
            yield (
                f"{name} ({place}) changes nothing, as in MMTracking: the values of the base file "
                "are made before it is read"
            )


def _val_differs(config: Config) -> Iterator[str]:
    data = config.values.get("data")
    if isinstance(data, Mapping) and "val" in data and data["val"] != data.get("test"):
        yield "data.val differs from data.test: here one set is scored, data.test's"


def _check_derived(key: Key, expected: Any, ours: str) -> None:
    given = tuple(key.value) if isinstance(key.value, list) else key.value
    single = expected[0] if isinstance(expected, tuple) and len(expected) == 1 else expected
    if given not in (expected, single):
        raise key.refused(f"here it follows from {ours}: expected {shown(expected)}")
