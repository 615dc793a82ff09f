"""Record of a training run: recipe, data and categories, to compare with when the run is resumed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from ovps_core.checkpoints.file import CheckpointInfo, sha256
from ovps_core.datasets.coco_folder import ANNOTATIONS
from ovps_core.datasets.label_files import benchmark_root
from ovps_core.datasets.part_benchmarks import PART_BENCHMARKS
from ovps_core.datasets.pascal_part import OBJECT_LISTS
from ovps_core.errors import CheckpointError, UsageError
from ovps_core.structures.whole_files import write_json
from training.data import scored_beside
from training.recipe import DataRecipe, Recipe, as_dict
from training.run import DataSources
from training.shards import INDEX

RECORD = "run.json"
RECIPE = "recipe.yaml"
_INDICES = (ANNOTATIONS, "scenes.json", INDEX)  # files that tell one folder of data from another
_BENCHMARK_INDICES = (
    OBJECT_LISTS,
    *(f"ade20k_instance_{split}.json" for split in ("train", "val")),
    *(f"{split}.json" for split in ("train", "val", "test")),
)
_FREE = (
    "optim.steps",
    "optim.minutes",
    "optim.score_every",
    "data.workers",
    "data.cache",
)
"""Keys of a recipe that a resumed run may change: how long it trains, and what has no influence on it."""
_BEFORE = {"corrections.selected_objects_by_boxes": False}
"""Behaviour of runs whose records lack a key, where it was not that of the key's default."""


@dataclass(frozen=True)
class RunRecord:
    """The input of a run: recipe, data and categories.

    Attributes:
        recipe: every number of the run.
        data: sha256 of each file that lists data, by its name; the path of a folder without such a file.
        model: configuration of the network, with the categories that it knows.
        finished: the run came to its end.
        contents: sha256 of the files from which every step learns, by the recipe's key that names them.
    """

    recipe: Mapping[str, Any]
    data: Mapping[str, str]
    model: Mapping[str, Any]
    finished: bool = False
    contents: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, sources: DataSources, info: CheckpointInfo) -> RunRecord:
        """The record of a run that is about to start."""
        contents = {
            key: hashlib.sha256("".join(map(sha256, paths)).encode()).hexdigest()
            for key, paths in recipe.files_of_every_step().items()
        }
        data = _digests(recipe, sources)
        return _plain(cls(as_dict(recipe), data, asdict(info.config), contents=contents))

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """The record in a run's folder; None if it has none.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = folder / RECORD
        try:
            if path.is_file():
                content = json.loads(path.read_text("utf-8"))
                known = {field.name for field in fields(cls)}  # other versions write other keys
                return cls(**{key: value for key, value in content.items() if key in known})
            if (folder / RECIPE).is_file():  # written before runs had a record
                recipe = yaml.safe_load((folder / RECIPE).read_text("utf-8"))
                return _plain(cls(recipe, {}, {}))
        except (
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
            yaml.YAMLError,
        ) as error:
            raise CheckpointError(
                f"{folder} has no readable record of its run ({error}); start again without --resume"
            ) from error
        return None

    def write(self, folder: Path, *, finished: bool = False) -> None:
        """Write the record into a run's folder.

        Raises:
            OutputError: the file cannot be written.
        """
        write_json(folder / RECORD, asdict(replace(self, finished=finished)))

    def is_finished_in(self, folder: Path) -> bool:
        """Whether the run that a folder holds has come to the end that this one aims at.

        Raises:
            UsageError: the run there had another recipe, other data or other categories.
            CheckpointError: its record is damaged.
        """
        earlier = RunRecord.read(folder)
        if earlier is None:
            return False
        self.check_resumes(earlier, folder)
        return earlier.finished and earlier.recipe == self.recipe

    def check_resumes(self, earlier: RunRecord, folder: Path) -> None:
        """Check that this run can go on where an earlier one stopped.

        Raises:
            UsageError: recipe, data or categories differ; the message says in what.
        """
        mine = _flat(self.recipe)
        others = {key: value for key, value in _BEFORE.items() if key in mine}
        others |= _flat(earlier.recipe)
        changed = [
            f"{key} was {others.get(key)!r} and is {mine.get(key)!r}"
            for key in sorted({*mine, *others} - set(_FREE))
            if key in others  # other keys that are newer than the run had their default
            and mine.get(key) != others[key]
        ]
        if earlier.data and self.data != earlier.data:
            changed.append(f"the data were {_short(earlier.data)} and are {_short(self.data)}")
        network, others = _flat(self.model), _flat(earlier.model)
        if any(network.get(key) != value for key, value in others.items()):
            changed.append("the network or the categories that it knows differ")
        changed += [
            f"the content of {key}, {mine[key]!r}, differs"
            for key, digest in earlier.contents.items()
            if self.contents.get(key, digest) != digest
        ]
        if changed:
            raise UsageError(
                f"{folder} cannot be resumed: {'; '.join(changed[:4])}. Give the same recipe and data, or leave "
                "out --resume and name another folder with --out"
            )


def is_digest(text: str) -> bool:
    """Whether an entry of ``RunRecord.data`` is a digest, and not a path."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def check_checkpoint(path: Path) -> None:
    """Check that a run can be resumed from a checkpoint; its tensors are mapped, not read.

    Raises:
        CheckpointError: it is cut, damaged, or of another program.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found = {"state_dict", "global_step"} <= set(content)
    except Exception as error:  # the unpickler raises a dozen unrelated kinds for damaged files
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is cut or damaged ({reason}); start again without --resume"
        ) from error
    if not found:
        raise CheckpointError(
            f"{path} is no checkpoint of a training run; start again without --resume"
        )


def _digests(recipe: Recipe, sources: DataSources) -> dict[str, str]:
    data = getattr(recipe, "data", None)
    places = [*sources.train, *([sources.val] if sources.val else [])]
    indices: tuple[str, ...] = _INDICES
    if isinstance(data, DataRecipe):
        benchmark = PART_BENCHMARKS.get(data.format.replace("-", "_"))
        if benchmark is not None:
            places = [benchmark_root(places[0] if places else None) / benchmark.folder]
            indices = _BENCHMARK_INDICES
        places += [found for path in places if (found := scored_beside(path, data.format))]
    files: dict[str, str] = {}
    for path in places:
        found_here = [file for file in [path, *(path / name for name in indices)] if file.is_file()]
        for file in found_here:
            files[f"{len(files)} {path.name}"] = sha256(file)
        if not found_here:
            files[f"{len(files)} {path.name}"] = str(path.resolve())
    return files


def _short(digests: Mapping[str, str]) -> str:
    shown = [
        f"{name.split(' ', 1)[1]} ({each[:8] if is_digest(each) else each})"
        for name, each in digests.items()
    ]
    return ", ".join(shown) or "others"


def _plain(record: RunRecord) -> RunRecord:
    """The record as JSON reads it back: lists for tuples."""
    return RunRecord(**json.loads(json.dumps(asdict(record))))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
