"""Names of models, and the files of their weights on this machine."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from ovps_core.checkpoints.hub import fetch_and_convert, is_hub_name
from ovps_core.errors import CheckpointError
from ovps_core.structures.cache_folder import cache_folder

DEFAULT_MODEL = "ovps-tiny"


@dataclass(frozen=True)
class ReleasedModel:
    """A model that has a name.

    Attributes:
        name: the name that a user types.
        use: what it is good for, in a few words.
        licence: SPDX identifier of the weights' licence.
        hub: Hugging Face repository that is fetched on first use; "" if the user brings the file.
        packaged: the weights are in the package.
    """

    name: str
    use: str
    licence: str
    hub: str = ""
    packaged: bool = False

    @property
    def path(self) -> Path:
        """File of the converted weights; it may not be there yet."""
        if self.packaged:
            return Path(__file__).parents[1] / "weights" / f"{self.name}.safetensors"
        return models_folder() / f"{self.name}.safetensors"

    def how_to_get(self) -> str:
        """Advice for when the weights are not there."""
        if self.packaged:
            return "they belong to the package: reinstall it"
        if self.hub:
            return f"they come from huggingface.co/{self.hub} on first use, which needs a network"
        return f"convert the released file: `ovps convert RELEASED.pth {self.path}`"


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
    ReleasedModel("partclipseg-pascal116", "the paper, Pascal-Part-116", "MIT"),
    ReleasedModel("partclipseg-ade234", "the paper, ADE20K-Part-234", "MIT"),
    ReleasedModel("partclipseg-partimagenet", "the paper, PartImageNet", "MIT"),
)


def known_models() -> tuple[ReleasedModel, ...]:
    """Return every model that has a name."""
    return _MODELS


def models_folder() -> Path:
    """Folder of converted weights: ``$OVPS_MODELS``, else ``models`` in the cache folder."""
    return Path(os.environ.get("OVPS_MODELS") or cache_folder() / "models")


def find_weights(name: str | Path) -> Path:
    """Find the weights file of a model by its name, path or hub repository ("CIDAS/clipseg-rd64").

    Models of the hub are fetched and converted on first use.

    Raises:
        CheckpointError: an unknown name, or weights that are not there; says how to get them.
    """
    name = str(name)
    if name.endswith(".safetensors") or Path(name).is_file():
        return Path(name)
    model = next((model for model in _MODELS if model.name == name), None)
    if model is None and is_hub_name(name):
        path = models_folder() / f"{name.replace('/', '--')}.safetensors"
        return fetch_and_convert(name, path, name=name)
    if model is None:
        names = [model.name for model in _MODELS]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"
        raise CheckpointError(f"no model and no file is called {name!r}{hint}")
    if model.hub:
        return fetch_and_convert(model.hub, model.path, name=name)
    if not model.path.is_file():
        raise CheckpointError(
            f"the weights of {name} are not at {model.path}: {model.how_to_get()}"
        )
    return model.path
