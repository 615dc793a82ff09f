"""A training recipe: every number of a run in one frozen value, read from YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from ovps_core.errors import OvpsError
from ovps_core.losses.partclipseg import LossWeights
from ovps_core.models.partclipseg.corrections import Corrections

RECIPES = Path(__file__).parent / "config"
"""Recipes that come along."""


class RecipeError(OvpsError, ValueError):
    """A recipe file cannot be read; the message names the file, the key and what is allowed."""


@dataclass(frozen=True)
class ModelRecipe:
    """The network.

    Attributes:
        weights: a model's name or file to start from; what it fixes (``clip``, ``backbone``, sizes of the
            decoder) is then not read from here.
        clip: an open_clip model, or its configuration as a mapping for towers of any size.
        pretrained: open_clip tag of ``clip``'s weights; empty starts them at random.
        backbone: a timm image tower in place of ``clip``'s.
        backbone_pretrained: take the published weights of ``backbone``.
        image_size: height and width that images are squashed to, pixels.
        taps: layers that the decoder reads; empty for the tower's default.
        dim, heads, mlp_dim: of the decoder's blocks.
        train_towers: also train the image and text towers, as random ones need.
    """

    weights: str = ""
    clip: str | dict = "ViT-B-16-quickgelu"  # type: ignore[type-arg]
    pretrained: str = "openai"
    backbone: str = ""
    backbone_pretrained: bool = True
    image_size: int = 352
    taps: tuple[int, ...] = ()
    dim: int = 64
    heads: int = 4
    mlp_dim: int = 2048
    train_towers: bool = False


@dataclass(frozen=True)
class DataRecipe:
    """What is learned from.

    Attributes:
        format: pascal-part-116, ade20k-part-234, partimagenet or coco-folder.
        object: the object whose parts a COCO file's categories are when they do not say.
        limit: only the first so many images; 0 for all.
        flip: chance of a horizontal mirror; 0 where parts are named left and right.
        min_crop: least share of the image's area that a random crop keeps; 1 for no crop.
        colour_jitter: strength of random brightness, contrast and saturation; 0 for none.
        workers: processes that read images.
        cache: so many images stay decoded in memory, in every worker.
    """

    format: str = "coco-folder"
    object: str = ""
    limit: int = 0
    flip: float = 0.5
    min_crop: float = 0.5
    colour_jitter: float = 0.2
    workers: int = 2
    cache: int = 0


@dataclass(frozen=True)
class OptimRecipe:
    """How it is learned.

    Attributes:
        steps: optimiser steps.
        batch: images a step and device.
        lr, weight_decay: of AdamW; LayerNorm and embeddings never decay.
        warmup: steps of linear rise to ``lr``.
        poly_power: the learning rate falls as (1 - step / steps) ** power.
        clip_norm: largest norm of the whole gradient; 0 for none.
        precision: 32-true, bf16-mixed or 16-mixed.
        ema_decay: keep an exponential moving average of the weights; 0 for none.
        score_every: steps between scores on the validation images; 0 for the end only.
        seed: of everything random.
    """

    steps: int = 20_000
    batch: int = 8
    lr: float = 1e-4
    weight_decay: float = 1e-4
    warmup: int = 500
    poly_power: float = 0.9
    clip_norm: float = 1.0
    precision: str = "bf16-mixed"
    ema_decay: float = 0.0
    score_every: int = 1000
    seed: int = 12345678


@dataclass(frozen=True)
class Recipe:
    """A run; the defaults are those for new training.

    Attributes:
        name: of the run's folder.
        score_on: "val" or "train", the images that the score is taken on; "train" shows an overfit.
    """

    name: str
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    losses: LossWeights = field(default_factory=LossWeights)
    corrections: Corrections = field(default_factory=Corrections)
    score_on: str = "val"


def load_recipe(path: Path | str) -> Recipe:
    """Read a YAML recipe; what it does not say keeps its default, its name is the file's.

    Raises:
        RecipeError: no such file, not YAML, or a key or a value that no recipe has.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} should hold keys such as model, data and optim")
    recipe: Recipe = _build(Recipe, {"name": path.stem, **content}, str(path))
    if recipe.score_on not in ("val", "train"):
        raise RecipeError(f"{path}: score_on is {recipe.score_on!r}, expected val or train")
    return recipe


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, for a checkpoint or YAML."""
    return dataclasses.asdict(recipe)


def _build(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        allowed = ", ".join(hints)
        raise RecipeError(f"{where}: no such key {', '.join(unknown)}; allowed are {allowed}")
    return kind(**{key: _value(hints[key], values[key], f"{where}: {key}") for key in values})


def _value(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if kind is Corrections and value == "released":
            return Corrections.released()
        if not isinstance(value, dict):
            raise RecipeError(f"{where} should hold keys, got {value!r}")
        return _build(kind, value, where)  # type: ignore[arg-type]
    if kind is float:
        # YAML reads 1e-4 as text
        try:
            return float(value)
        except (TypeError, ValueError):
            raise RecipeError(f"{where} should be a number, got {value!r}") from None
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_value(get_args(kind)[0], item, where) for item in value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RecipeError(f"{where} should be {getattr(kind, '__name__', kind)}, got {value!r}")
    return value
