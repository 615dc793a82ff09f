"""Settings of a folder of rendered scenes, and the value type of one scene."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from ovps_core.errors import DatasetError, MissingDependencyError

SCENES_PER_SHARD = 64
FORMAT = 1
IGNORED = 255
"""Pixel value of a part map where the content is unknown; a loss must skip these pixels."""
Split = Literal["train", "val", "test"]
"""Shapes and seeds of different splits differ; see ``object_class.TEST_BAND``."""

Level = Literal["tabletop", "wild"]
"""Tabletop: plausible materials and light. Wild: more classes, randomised appearance."""

SPLITS: tuple[Split, ...] = ("train", "val", "test")
LEVELS: tuple[Level, ...] = ("tabletop", "wild")


@dataclass(frozen=True)
class RenderSettings:
    """All settings that decide a folder's pixels; resuming a folder requires equal ones.

    Attributes:
        level: "tabletop" or "wild".
        split: "train", "val" or "test".
        count: number of scenes.
        seed: of all random numbers.
        size: side of the square pictures, pixels.
        depth: also write metric depth.
        backgrounds: folder of background photos for wild scenes, labelled as IGNORED; "" paints noise.
        assets: folder with the part-split meshes of ``assets.ASSETS``, for wild training scenes.
        meshes: folder with further objects, a mesh file for each part; see :mod:`ovps_core.synthetic.mesh_folder`.
        mesh_units: "m" or "mm", of the numbers in these files.
        objects: names of the classes to show; empty for those of the level.

    Raises:
        DatasetError: a value is out of range, or two settings contradict each other.
    """

    level: Level = "tabletop"
    split: Split = "train"
    count: int = 1024
    seed: int = 0
    size: int = 224
    depth: bool = False
    backgrounds: str = ""
    assets: str = ""
    meshes: str = ""
    mesh_units: Literal["m", "mm"] = "m"
    objects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check ranges and combinations."""
        if self.level not in LEVELS or self.split not in SPLITS:
            raise DatasetError(
                f"Rendered scenes have the levels {LEVELS} and the splits {SPLITS}; "
                f"given {self.level!r} and {self.split!r}."
            )
        if self.count < 1 or not 32 <= self.size <= 1024:
            raise DatasetError(
                f"A render needs at least 1 scene of 32 to 1024 pixels a side; given {self.count} "
                f"of {self.size}."
            )
        if self.level != "wild" and (self.backgrounds or self.assets):
            raise DatasetError(
                "Backgrounds and assets are for the wild level only; leave them out for "
                f"{self.level!r}."
            )
        if self.split != "train" and self.assets:
            raise DatasetError(
                "Assets have one shape each, so only training may see them; leave them out for "
                f"{self.split!r}."
            )

    @property
    def bytes_per_scene(self) -> int:
        """Size of a scene on disk: colour, part map and object map of 8 bits, depth of 32."""
        return self.size**2 * (3 + 1 + 1 + (4 if self.depth else 0))


@dataclass(frozen=True)
class Scene:
    """One rendered scene.

    Attributes:
        rgb: uint8 [H, W, 3].
        parts: uint8 [H, W]; 0 background, i + 1 is ``catalogue.OBJECT_PARTS[i]``, IGNORED unknown.
        objects: uint8 [H, W]; 0 background, i + 1 the instance ``instances[i]``.
        depth: float32 [H, W] metres along the optical axis, or None if not rendered.
        intrinsics: float64 [3, 3], pixels.
        camera_pose: float64 [4, 4], optical frame to world.
        instances: object name and pose of each instance float64 [4, 4], object frame to world.
    """

    rgb: np.ndarray
    parts: np.ndarray
    objects: np.ndarray
    depth: np.ndarray | None
    intrinsics: np.ndarray
    camera_pose: np.ndarray
    instances: tuple[tuple[str, np.ndarray], ...]


def require_render_extra() -> None:
    """Check that the packages for rendering are installed.

    Raises:
        MissingDependencyError: one is missing; the message has the command that installs them.
    """
    missing = [name for name in ("mujoco", "trimesh", "manifold3d") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"Rendering needs what is not installed, {', '.join(missing)}: pip install 'ovps[render]'. "
            "Reading a rendered folder does not need them."
        )
