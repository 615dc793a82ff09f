"""Training recipes: the YAML parser, and the sections that several model families share."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from ovps_core.errors import ConfigError

RECIPES = Path(__file__).parent / "config"
"""Folder of the recipes that come with the package, one subfolder per model family."""

PRESETS = "presets"
"""Key of a field's metadata: values that YAML may give by name, such as ``corrections: released``."""

_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""Errors of YAML's parser: ValueError for bytes that are no text and for dates that do not exist."""

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class OptimRecipe:
    """Optimiser keys of every family; each family has defaults and further keys of its own.

    Attributes:
        batch: images per step and device.
        lr: learning rate of AdamW.
        weight_decay: weight decay of AdamW; normalisations and embeddings never decay, nor do biases of a compact
            model.
        clip_norm: maximum norm of the whole gradient; 0 for no limit.
        precision: 32-true, bf16-mixed or 16-mixed.
        ema_decay: decay per step of a moving average of the weights; 0 for none.
        score_every: optimiser steps between scores on the images to score on; 0 for the end only.
        seed: seed of all random numbers.
    """

    batch: int = 8
    lr: float = 1e-4
    weight_decay: float = 1e-4
    clip_norm: float = 0.01
    precision: Precision = "bf16-mixed"
    ema_decay: float = 0.0
    score_every: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a run without a picture or a step."""
        for key in ("batch", "steps", "accumulate"):
            if getattr(self, key, 1) < 1:
                raise ConfigError(f"{key} should be at least 1, got {getattr(self, key)}")


@dataclass(frozen=True)
class StepOptimRecipe(OptimRecipe):
    """Optimiser keys of a run that ends after a number of steps.

    Attributes:
        steps: optimiser steps.
        accumulate: batches whose gradients are averaged for one step, as if they were one batch.
        warmup: steps of linear rise to ``lr``.
    """

    steps: int = 20_000
    accumulate: int = 1
    warmup: int = 0


@dataclass(frozen=True)
class Recipe:
    """Every number of a training run. Each family subclasses it with typed sections of its own.

    Attributes:
        family: class attribute, the ``type`` that a recipe file names.
        name: name of the run's folder; the recipe file's name unless the file gives another.
        optim: optimiser and schedule.
    """

    family: ClassVar[str]

    name: str
    optim: OptimRecipe

    @property
    def seed(self) -> int:
        """Seed of all random numbers of the run."""
        return self.optim.seed

    def files_of_every_step(self) -> Mapping[str, Sequence[Path]]:
        """Files named in the recipe from which every step learns, in order, by key; none by default.

        What a run only starts from is not among them: its checkpoint replaces that.
        """
        return {}


@dataclass(frozen=True)
class DataRecipe:
    """Labelled photographs to learn from, and how they are augmented.

    Attributes:
        format: pascal-part-116, ade20k-part-234, partimagenet, coco-folder, rendered, or shards, which
            `ovps data pack` writes.
        object: the object whose parts the categories of a COCO file are, if they do not name one.
        objects: the objects of rendered scenes to learn, all others are background; empty for all.
        skip_broken: leave out images of a COCO file that are broken or have a broken annotation.
        pseudo_labels: learn from annotations that a model made, too.
        limit: number of images, from the first; 0 for all. Packed data are learned from whole.
        val_limit: number of a benchmark's evaluation images to score on during training, by seen and unseen
            names; 0 for none. They are spread over its list, where images of one object may lie together. The
            best weights by this score are then chosen on images that they are judged by.
        flip: probability of a horizontal flip, which also swaps the names "left ..." and "right ...".
        min_crop: minimum share of the image's area that a random crop keeps; 1 for no crop.
        colour_jitter: strength of random brightness, contrast and saturation; 0 for none.
        blur: probability of a Gaussian blur.
        noise: standard deviation of Gaussian noise, for values in 0..1.
        copy_paste: probability that objects of another image are pasted onto one, see ``training/copy_paste.py``.
        workers: processes that read images.
        cache: number of images that stay decoded in memory, in every worker.
    """

    format: Literal[
        "pascal-part-116", "ade20k-part-234", "partimagenet", "coco-folder", "rendered", "shards"
    ] = "coco-folder"
    object: str = ""
    objects: tuple[str, ...] = ()
    skip_broken: bool = False
    pseudo_labels: bool = False
    limit: int = 0
    val_limit: int = 0
    flip: float = 0.5
    min_crop: float = 0.5
    colour_jitter: float = 0.2
    blur: float = 0.0
    noise: float = 0.0
    copy_paste: float = 0.0
    workers: int = 2
    cache: int = 0

    def __post_init__(self) -> None:
        """Refuse probabilities above 1."""
        check_shares(self, "flip", "min_crop", "blur", "copy_paste")


@dataclass(frozen=True)
class ClipTowers:
    """The image and text towers of a network that is built on CLIP.

    Attributes:
        weights: name or file of a model to start from.
        clip: an open_clip model, or its configuration as a mapping for towers of any size.
        pretrained: open_clip tag of ``clip``'s weights; empty for random ones.
        train_towers: also train the image and text towers, as random ones need.
    """

    weights: str = ""
    clip: str | dict[str, Any] = "ViT-B-16-quickgelu"
    pretrained: str = "openai"
    train_towers: bool = False

    def __post_init__(self) -> None:
        """Refuse open_clip's weights for towers that open_clip does not know by name."""
        if self.pretrained and not self.weights and not isinstance(self.clip, str):
            raise ConfigError(
                "`pretrained` names weights of an open_clip model, but `clip` is a configuration; "
                "set `pretrained: ''`, or `clip` to a model's name"
            )


def check_shares(section: object, *keys: str) -> None:
    """Refuse a probability or share above 1; those below 0 are refused as all negative numbers."""
    for key in keys:
        if getattr(section, key) > 1:
            raise ConfigError(f"{key} should be 0 to 1, got {getattr(section, key)}")


def find_recipe(name: Path | str) -> Path:
    """The file of a recipe: a path, or the name of a recipe that comes with the package.

    Raises:
        ConfigError: neither exists; the message lists the names.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    packaged = {file.stem: file for file in sorted(RECIPES.glob("*/*.yaml"))}
    if str(name) not in packaged:
        raise ConfigError(
            f"{name} is neither a YAML file nor one of the recipes {', '.join(packaged)}"
        )
    return packaged[str(name)]


def read_values(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The keys and values of a YAML recipe, not yet checked.

    Args:
        path: the file.
        overrides: ``key=value`` strings that replace or add single values. Dots separate sections
            (``optim.steps=100``); values are YAML. Nothing after ``=`` is the empty text, since a shell takes the
            quotes of ``model.guidance=""`` away.

    Raises:
        ConfigError: no such file, not YAML, or an override that is not ``key=value``.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except _NOT_YAML as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} should hold keys such as type, model, data and optim")
    for override in overrides:
        _override(content, override)
    return content


def build_recipe(kind: type[Recipe], values: dict[str, Any], path: Path) -> Recipe:
    """A checked recipe; keys that the file does not hold keep their defaults.

    Args:
        kind: the family's recipe.
        values: from :func:`read_values`, without ``type``.
        path: the file, for messages and for the default name.

    Raises:
        ConfigError: an unknown key or a wrong value; the message gives its path and what is allowed.
    """
    recipe = _build(kind, {"name": path.stem, **values}, str(path))
    assert isinstance(recipe, Recipe)
    return recipe


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values for YAML; reading them back gives an equal recipe."""
    return {"type": recipe.family, **dataclasses.asdict(recipe)}


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"{override!r} should be KEY=VALUE, such as optim.batch=8")
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ConfigError(f"{override!r}: {section} holds a value, not keys")
    try:
        content[last] = yaml.safe_load(text) if text else ""
    except _NOT_YAML as error:
        raise ConfigError(f"{override!r}: the value is not YAML: {error}") from error


def _build(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    """An instance of a dataclass from a mapping; ``where`` is the path of the mapping's key."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(str(key) for key in set(values) - set(fields))
    if unknown:
        allowed = ", ".join(fields)
        raise ConfigError(f"{where}: no such key {', '.join(unknown)}; allowed are {allowed}")
    hints = get_type_hints(kind)
    arguments = {}
    for key, value in values.items():
        presets = fields[key].metadata.get(PRESETS, {})
        preset = isinstance(value, str) and value in presets
        arguments[key] = presets[value] if preset else _value(hints[key], value, f"{where}: {key}")
    try:
        return kind(**arguments)
    except ConfigError as error:  # from __post_init__, which does not know the file
        raise ConfigError(f"{where}: {error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``kind``, or a ConfigError that names its path ``where``."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} should hold keys, got {value!r}")
        return _build(kind, value, where)  # type: ignore[arg-type]
    origin, choices = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in choices:
            expected = " or ".join(", ".join(map(str, choices)).rsplit(", ", 1))
            raise ConfigError(f"{where} is {value!r}, expected {expected}")
        return value
    if kind is float:
        try:
            # YAML reads 1e-4 as text.
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"{where} should be a number, got {value!r}")
        return _not_negative(number, where)
    if origin is tuple and isinstance(value, list):
        kinds = [choices[0]] * len(value) if choices[1:] == (...,) else list(choices)
        if len(kinds) != len(value):
            raise ConfigError(f"{where} should hold {len(kinds)} values, got {value!r}")
        items = enumerate(zip(kinds, value, strict=True))
        return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in items)
    kinds = list(choices) if origin in (Union, types.UnionType) else [kind]
    allowed = tuple(get_origin(k) or k for k in kinds)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join(k.__name__ for k in allowed)
        raise ConfigError(f"{where} should be {names}, got {value!r}")
    return _not_negative(value, where) if isinstance(value, int) else value


def _not_negative(number: float, where: str) -> float:
    """``number``; no count, rate, weight or share of a recipe is below 0."""
    if number < 0:
        raise ConfigError(f"{where} should not be negative, got {number!r}")
    return number
