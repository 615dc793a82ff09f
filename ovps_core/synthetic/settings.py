"""What a rendered folder is made of: its settings, one scene, and the words for levels and splits."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from ovps_core.errors import BackendError, DatasetError

SCENES_PER_SHARD = 64
FORMAT = 1
Split = Literal["train", "val", "test"]
Level = Literal["tabletop", "wild"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
LEVELS: tuple[Level, ...] = ("tabletop", "wild")


@dataclass(frozen=True)
class RenderSettings:
    """Everything that decides a folder's pixels; a folder is resumed only under equal settings.

    Attributes:
        count, seed, size: scenes, seed, side of the square pictures in pixels.
        depth: write metric depth too.
        backgrounds: folder of photos for behind wild scenes; "" paints them.
        assets: folder with the part-split meshes of `assets.ASSETS`, for wild training scenes.
    """

    level: Level = "tabletop"
    split: Split = "train"
    count: int = 1024
    seed: int = 0
    size: int = 224
    depth: bool = False
    backgrounds: str = ""
    assets: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS or self.split not in SPLITS:
            raise DatasetError(
                f"Rendered scenes have levels {LEVELS} and splits {SPLITS}; "
                f"given {self.level!r} and {self.split!r}."
            )
        if self.count < 1 or not 32 <= self.size <= 1024:
            raise DatasetError(
                f"Give at least 1 scene of 32 to 1024 pixels; given {self.count} of {self.size}."
            )
        if self.level != "wild" and (self.backgrounds or self.assets):
            raise DatasetError(
                "Backgrounds and assets are for the wild level; leave them out here."
            )
        if self.split != "train" and self.assets:
            raise DatasetError(
                "Assets have one shape each, so only training may see them; leave them out for "
                f"{self.split!r}."
            )


@dataclass(frozen=True)
class Scene:
    """One rendered scene.

    Attributes:
        rgb: uint8 [H, W, 3].
        parts: uint8 [H, W]; 0 background, i + 1 the pair PAIRS[i].
        objects: uint8 [H, W]; 0 background, else the instance's number, counted from 1.
        depth: float32 [H, W] metres along the optical axis, or None when not asked for.
        intrinsics: float64 [3, 3].
        camera_pose: float64 [4, 4], optical frame to world.
        instances: per instance its object name and pose float64 [4, 4], object frame to world.
    """

    rgb: np.ndarray
    parts: np.ndarray
    objects: np.ndarray
    depth: np.ndarray | None
    intrinsics: np.ndarray
    camera_pose: np.ndarray
    instances: tuple[tuple[str, np.ndarray], ...]


def require_render_extra() -> None:
    """Raise BackendError that says what to install when the rendering libraries are absent."""
    missing = [name for name in ("mujoco", "trimesh", "manifold3d") if find_spec(name) is None]
    if missing:
        raise BackendError(
            f"Rendering needs {', '.join(missing)}, not installed here: pip install 'ovps[render]'. "
            "Reading a rendered folder does not need them."
        )
