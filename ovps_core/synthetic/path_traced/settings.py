"""Settings of a folder of path-traced scenes, and the random numbers of one scene."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from ovps_core.errors import DatasetError, MissingDependencyError
from ovps_core.synthetic.settings import SPLITS, Split

SCENES_PER_SHARD = 32


@dataclass(frozen=True)
class PathTraceSettings:
    """All settings that decide the pixels of a folder.

    Attributes:
        split: "train", "val" or "test".
        seed: of all random numbers.
        size: side of the square pictures in pixels.
        samples: light paths per pixel before denoising.
        scans: folder of part-labelled textured scans; "" shows parametric objects only.
        textures: folder of pictures of table tops, walls and floors; "" paints procedural ones.
        photos: folder of indoor photographs, blurred beyond recognition into surrounding light;
            "" paints a gradient.

    Raises:
        DatasetError: a value is out of range.
    """

    split: Split = "train"
    seed: int = 0
    size: int = 256
    samples: int = 8
    scans: str = ""
    textures: str = ""
    photos: str = ""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.split not in SPLITS:
            raise DatasetError(f"Path-traced scenes have splits {SPLITS}; given {self.split!r}.")
        if not 32 <= self.size <= 1024 or not 1 <= self.samples <= 4096:
            raise DatasetError(
                "Give a size of 32 to 1024 pixels and 1 to 4096 samples; "
                f"given {self.size} and {self.samples}."
            )

    def header(self) -> dict[str, Any]:
        """Return the settings for ``scenes.json``, with the keys of ``RenderSettings`` that readers use."""
        return {"level": "wild", "renderer": "cycles", "depth": True, **asdict(self)}

    def stream(self, scene: int, attempt: int) -> np.random.Generator:
        """Return the random stream of one attempt at one scene."""
        # The constant keeps these streams apart from those of the rasterised scenes.
        return np.random.default_rng(
            [self.seed, SPLITS.index(self.split), 0xC7C1E5, scene, attempt]
        )


def require_path_tracer() -> None:
    """Check that Blender and the mesh libraries are installed.

    Raises:
        MissingDependencyError: one is missing; the message has the command that installs them.
    """
    missing = [name for name in ("bpy", "trimesh", "manifold3d") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"Path tracing needs what is not installed, {', '.join(missing)}: "
            "pip install 'ovps[pathtrace]', with Python 3.11, which `bpy` is built for. "
            "Reading the rendered folder does not need them."
        )
