"""Registry of the model families that can be trained; a recipe's ``type`` names one.

A family is a folder and one line in ``FAMILIES``, as this one::

    training/openseed/recipe.py      class OpenSeeDRecipe(Recipe), with family = "openseed"
    training/openseed/run.py         def prepare(recipe, sources) -> TrainingRun
    training/config/openseed/*.yaml  recipes, each with `type: openseed`

The parser, the trainer with its loggers and checkpoints, resuming and the command line are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import training.clipseg.run as clipseg
import training.compact.run as compact
import training.openseed.run as openseed
import training.partcatseg.run as partcatseg
import training.partclipseg.run as partclipseg
from ovps_core.errors import ConfigError
from training.clipseg.recipe import CLIPSegRecipe
from training.compact.recipe import CompactRecipe
from training.openseed.recipe import OpenSeeDRecipe
from training.partcatseg.recipe import CATSegRecipe, PartCATSegRecipe
from training.partclipseg.recipe import PartCLIPSegRecipe
from training.recipe import Recipe, build_recipe, find_recipe, read_values
from training.run import DataSources, TrainingRun

R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class Family(Generic[R]):
    """A model family.

    Attributes:
        recipe: its typed recipe; the class attribute ``family`` is the ``type`` in YAML.
        prepare: opens the data and builds the network of one run.
    """

    recipe: type[R]
    prepare: Callable[[R, DataSources], TrainingRun]


FAMILIES: dict[str, Family[Any]] = {
    family.recipe.family: family
    for family in (
        Family(CompactRecipe, compact.prepare),
        Family(PartCLIPSegRecipe, partclipseg.prepare),
        Family(CLIPSegRecipe, clipseg.prepare),
        Family(CATSegRecipe, partcatseg.prepare),
        Family(PartCATSegRecipe, partcatseg.prepare),
        Family(OpenSeeDRecipe, openseed.prepare),
    )
}


def load_recipe(name: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe. Nothing else is opened.

    Args:
        name: a YAML file, or the name of a recipe that comes with the package.
        overrides: ``key=value`` strings; see :func:`training.recipe.read_values`.

    Raises:
        ConfigError: the file is missing or not YAML, or its type, a key or a value is wrong.
    """
    path = find_recipe(name)
    values = read_values(path, overrides)
    allowed = ", ".join(FAMILIES)
    if "type" not in values:
        raise ConfigError(f"{path} has no `type`; allowed are {allowed}")
    family = FAMILIES.get(str(values.pop("type")))
    if family is None:
        raise ConfigError(f"{path}: no such type; allowed are {allowed}")
    return build_recipe(family.recipe, values, path)
