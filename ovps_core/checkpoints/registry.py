"""Names of models, and the files of their weights on this machine."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from ovps_core.checkpoints.hub import (
    cached_folder,
    convert_folder,
    fetch_and_convert,
    is_hub_name,
)
from ovps_core.errors import CheckpointError
from ovps_core.models.prompted.networks import require_transformers
from ovps_core.structures.cache_folder import cache_folder, expand_home

DEFAULT_MODEL = "ovps-tiny"
DEFAULT_OBJECT_MODEL = "openseed-swint"


@dataclass(frozen=True)
class ReleasedModel:
    """A model that has a name.

    Attributes:
        name: the name that a user types.
        use: what it is good for, in a few words.
        licence: SPDX identifier of the weights' licence, or where it is stated.
        hub: Hugging Face repository that is fetched on first use; "" if the user brings the file.
        packaged: the weights are in the package.
        page: web page with the file that the user brings; "" if it is not known.
        trained_on: vocabulary of the benchmark that the file that the user brings was trained on.
        gated: access to the repository must be granted first.
        in_transformers: transformers runs the repository's files; they are not converted.
    """

    name: str
    use: str
    licence: str
    hub: str = ""
    packaged: bool = False
    page: str = ""
    trained_on: str = ""
    gated: bool = False
    in_transformers: bool = False

    @property
    def path(self) -> Path:
        """File of the converted weights, or folder in the hub's cache; it may not be there yet."""
        if self.packaged:
            return Path(__file__).parents[1] / "weights" / f"{self.name}.safetensors"
        if self.in_transformers:
            return cached_folder(self.hub) or Path(self.hub)
        return models_folder() / f"{self.name}.safetensors"

    def files(self) -> tuple[Path, ...]:
        """Weights files that are on this machine."""
        if self.in_transformers:
            folder = cached_folder(self.hub)
            return tuple(sorted(folder.glob("model*.safetensors"))) if folder else ()
        return (self.path,) if self.path.is_file() else ()

    def how_to_get(self) -> str:
        """Advice for when the weights are not there."""
        if self.packaged:
            return "they belong to the package: reinstall it"
        if self.hub:
            access = "on first use, which needs a network"
            if self.gated:
                access = "on first use, once access is granted there"
            return f"they come from huggingface.co/{self.hub} {access}"
        source = f", which is at {self.page}" if self.page else ""
        words = f" --vocabulary {self.trained_on}" if self.trained_on else ""
        return f"convert the released file: `ovps convert RELEASED {self.path}{words}`{source}"


_OPENSEED = "https://github.com/IDEA-Research/OpenSeeD/releases"
_PARTCATSEG = "https://github.com/kaist-cvml/part-catseg"
_MODELS = (
    ReleasedModel(
        "ovps-tiny",
        "works offline at once; tools, kitchenware, furniture",
        "Apache-2.0",
        packaged=True,
    ),
    ReleasedModel(
        "clipseg-rd64-refined",
        "zero-shot on photographs",
        "Apache-2.0",
        hub="CIDAS/clipseg-rd64-refined",
    ),
    ReleasedModel("clipseg-rd64", "the same, coarser", "Apache-2.0", hub="CIDAS/clipseg-rd64"),
    ReleasedModel(
        "partclipseg-pascal116", "the paper, Pascal-Part-116", "MIT", trained_on="pascal_part_116"
    ),
    ReleasedModel(
        "partclipseg-ade234", "the paper, ADE20K-Part-234", "MIT", trained_on="ade20k_part_234"
    ),
    ReleasedModel(
        "partclipseg-partimagenet", "the paper, PartImageNet", "MIT", trained_on="partimagenet"
    ),
    ReleasedModel(
        "partcatseg-pascal116",
        "the paper, Pascal-Part-116",
        "MIT",
        page=_PARTCATSEG,
        trained_on="pascal_part_116",
    ),
    ReleasedModel(
        "partcatseg-ade234",
        "the paper, ADE20K-Part-234",
        "MIT",
        page=_PARTCATSEG,
        trained_on="ade20k_part_234",
    ),
    ReleasedModel(
        "partcatseg-partimagenet",
        "the paper, PartImageNet",
        "MIT",
        page=_PARTCATSEG,
        trained_on="partimagenet",
    ),
    ReleasedModel(
        "openseed-swint",
        "objects and stuff by name; the paper, COCO and Objects365",
        "see its page",
        page=f"{_OPENSEED}/tag/openseed",
    ),
    ReleasedModel(
        "openseed-swinl-coco",
        "the same, larger, fine-tuned on COCO panoptic",
        "see its page",
        page=f"{_OPENSEED}/tag/coco_pano_sota_swinl",
    ),
    ReleasedModel(
        "sam3",
        "any short phrase; large: 0.8 billion parameters",
        "SAM License",
        hub="facebook/sam3",
        gated=True,
        in_transformers=True,
    ),
    ReleasedModel(
        "sam3-litetext",
        "the same, with a small text encoder",
        "see its page",
        hub="vil-uob/sam3-litetext-s0",
        in_transformers=True,
    ),
)


def known_models() -> tuple[ReleasedModel, ...]:
    """Return every model that has a name."""
    return _MODELS


def models_folder() -> Path:
    """Folder of converted weights: ``$OVPS_MODELS``, else ``models`` in the cache folder."""
    return expand_home(os.environ.get("OVPS_MODELS") or cache_folder() / "models")


def find_weights(name: str | Path) -> Path:
    """Find the weights file of a model by its name, file, folder or hub repository ("CIDAS/clipseg-rd64").

    Models of the hub are fetched on first use. They, and folders that were copied from the hub, are converted on
    first use. For a model that transformers runs the result is its folder. A path may begin with ``~``.

    Raises:
        CheckpointError: an unknown name, or weights that are not there; says how to get them.
        MissingDependencyError: a named model runs in transformers, which is not installed.
    """
    name = _expanded(name)
    if not name:  # not the current folder
        raise _unknown_name(name)
    if name.endswith(".safetensors") or Path(name).is_file():
        return Path(name)
    if Path(name).is_dir() and all(model.name != name for model in _MODELS):
        return convert_folder(Path(name), models_folder())
    model = next((model for model in _MODELS if model.name == name), None)
    if model is None and is_hub_name(name):
        path = models_folder() / f"{name.replace('/', '--')}.safetensors"
        return fetch_and_convert(name, path, name=name)
    if model is None:
        raise _unknown_name(name)
    if model.in_transformers:
        require_transformers()  # before gigabytes are fetched
    if model.hub:
        return fetch_and_convert(model.hub, model.path, name=name)
    if not model.path.is_file():
        raise CheckpointError(
            f"the weights of {name} are not at {model.path}: {model.how_to_get()}"
        )
    return model.path


def check_model_name(name: str | Path) -> None:
    """Check the name or path of a model without fetching or opening its weights.

    Raises:
        CheckpointError: an unknown name, or a file or folder that is not there.
    """
    name = _expanded(name)
    is_known = any(model.name == name for model in _MODELS)
    if not is_known and not is_hub_name(name) and not os.path.exists(name):
        raise _unknown_name(name)


def _expanded(name: str | Path) -> str:
    return str(expand_home(name)) if str(name).startswith("~") else str(name)


def _unknown_name(name: str) -> CheckpointError:
    names = [model.name for model in _MODELS]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"
    return CheckpointError(f"no model, file or folder is called {name!r}{hint}")
