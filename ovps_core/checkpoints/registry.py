"""The models a user can name, and where their weights are on this machine."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ovps_core.checkpoints.convert.convert_file import convert
from ovps_core.errors import CheckpointError

DEFAULT_MODEL = "ovps-tiny"


@dataclass(frozen=True)
class ReleasedModel:
    """A row of the table of models.

    Attributes:
        name: what a user types.
        use: for what, in a few words.
        licence: of the weights.
        hub: Hugging Face repository to fetch on first use; empty where the user brings the file.
        packaged: the weights are in the package.
    """

    name: str
    use: str
    licence: str
    hub: str = ""
    packaged: bool = False

    @property
    def path(self) -> Path:
        """Where the converted weights belong."""
        if self.packaged:
            return Path(__file__).parents[1] / "weights" / f"{self.name}.safetensors"
        return models_folder() / f"{self.name}.safetensors"

    def how_to_get(self) -> str:
        """What to do when the weights are not there."""
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
    """Every model that has a name."""
    return _MODELS


def models_folder() -> Path:
    """Where converted weights are kept: ``$OVPS_MODELS``, else ``~/.cache/ovps/models``."""
    return Path(os.environ.get("OVPS_MODELS") or Path.home() / ".cache" / "ovps" / "models")


def find_weights(name: str | Path) -> Path:
    """The file of a model given by name, path or hub repository ("CIDAS/clipseg-rd64").

    Hub models are fetched and converted on first use.

    Raises:
        CheckpointError: an unknown name, or weights that are not there; says how to get them.
    """
    name = str(name)
    if name.endswith(".safetensors") or Path(name).is_file():
        return Path(name)
    model = next((model for model in _MODELS if model.name == name), None)
    if model is None and is_hub_name(name):
        path = models_folder() / f"{name.replace('/', '--')}.safetensors"
        if not path.is_file():
            convert(fetch(name), path, name=name)
        return path
    if model is None:
        names = [model.name for model in _MODELS]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"
        raise CheckpointError(f"no model and no file is called {name!r}{hint}")
    if not model.path.is_file():
        if not model.hub:
            raise CheckpointError(
                f"the weights of {name} are not at {model.path}: {model.how_to_get()}"
            )
        convert(fetch(model.hub), model.path, name=name)
    return model.path


def is_hub_name(name: str) -> bool:
    """Whether ``name`` reads as a Hugging Face repository and is no file or folder here."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).exists()


def fetch(repository: str) -> Path:
    """The folder of a Hugging Face repository, from the hub or its cache on this machine.

    Raises:
        CheckpointError: it is not there, or there is no network.
    """
    from huggingface_hub import snapshot_download

    wanted = ["config.json", "preprocessor_config.json", "model.safetensors"]
    try:
        return Path(snapshot_download(repository, allow_patterns=wanted))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise CheckpointError(
            f"cannot fetch huggingface.co/{repository}: {str(error).splitlines()[0]}; it needs a "
            "network once, or its folder copied here and named as a path"
        ) from error
