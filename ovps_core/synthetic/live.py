"""A simulated camera: one tabletop scene, seen frame by frame while the camera circles it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovps_core.errors import DatasetError, ImageError
from ovps_core.synthetic.bank import build_bank
from ovps_core.synthetic.catalogue import object_class
from ovps_core.synthetic.renderer import Renderer
from ovps_core.synthetic.scene import (
    Camera,
    Placed,
    aim,
    dress,
    fit_camera,
    lay_out,
    light,
    show,
)

FOVY = 45.0
ORBIT_SECONDS = 20.0
_TRIES = 20


@dataclass(frozen=True)
class Frame:
    """What the simulated camera sees at one moment.

    Attributes:
        rgb: uint8 [H, W, 3].
        depth: float32 [H, W] metres along the optical axis; 0 where nothing is.
        intrinsics: float64 [3, 3]; pixel centres at integer coordinates, no distortion.
        camera_pose: float64 [4, 4], camera optical frame (x right, y down, z ahead) to world.
        masks: bool [H, W] by (object, part); a whole object under (object, "").
    """

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    camera_pose: np.ndarray
    masks: dict[tuple[str, str], np.ndarray]


class LiveScene:
    """A table with named objects and a camera that circles it once in 20 s.

    The world frame stands in the middle of the table's top, z up. The same objects and seed give
    the same frames. Its shapes are those of the split "test", which were never trained on.

        scene = LiveScene(["knife", "mug", "pan"], seed=3)
        frame = scene.frame(t=0.5)
        handle = frame.masks["knife", "handle"]
        scene.close()

    Args:
        objects: names from `catalogue.OBJECT_CLASSES`; a name may occur twice.
        seed: chooses shapes, colours, places, light and the orbit.
        width, height: pixels.

    Raises:
        DatasetError: an unknown object, none at all, or more than find room on the table.
        ImageError: a picture of no pixels.
        BackendError: no off-screen OpenGL works here.
    """

    def __init__(
        self,
        objects: Sequence[str],
        seed: int = 0,
        width: int = 640,
        height: int = 480,
    ) -> None:
        if not objects:
            raise DatasetError("A live scene needs at least one object, such as ['knife', 'mug'].")
        if width < 16 or height < 16:
            raise ImageError(f"A frame needs at least 16x16 pixels; given {width}x{height}.")
        classes = [object_class(name) for name in objects]
        self.width, self.height = width, height
        rng = np.random.default_rng([seed, len(objects)])
        self._bank = build_bank(classes, rng, "test", width, height, samples=0)
        self._placed = self._lay_out(rng)
        self._points = np.vstack([p.points for p in self._placed])
        self._start = rng.uniform(0, 2 * np.pi)
        self._elevation = np.radians(rng.uniform(42, 52))
        views = [self._fit(a, 0.1) for a in np.linspace(0, 2 * np.pi, 16)]
        middle = (self._points.min(0) + self._points.max(0)) / 2
        self._distance = max(float(np.linalg.norm(v.pose[:3, 3] - middle)) for v in views)
        dress(self._bank, self._placed, rng)
        show(self._bank, self._placed, views[0])
        light(self._bank, rng, np.zeros(3))
        self._renderer = Renderer(self._bank, width, height)

    def _lay_out(self, rng: np.random.Generator) -> list[Placed]:
        for _ in range(_TRIES):
            placed = lay_out(self._bank.items, rng)
            if len(placed) == len(self._bank.items):
                return placed
        names = [item.object for item in self._bank.items]
        raise DatasetError(f"{len(names)} objects do not fit on the table ({names}); name fewer.")

    def _fit(self, azimuth: float, near: float, far: float = 2.0) -> Camera:
        return fit_camera(
            self._points, azimuth, self._elevation, FOVY, 1.05, self.width / self.height, 0.0,
            np.zeros(2), near, far,
        )  # fmt: skip

    def camera(self, t: float) -> Camera:
        """The camera at t seconds on its orbit."""
        azimuth = self._start + 2 * np.pi * t / ORBIT_SECONDS
        return self._fit(azimuth, self._distance, self._distance)

    def frame(self, t: float) -> Frame:
        """Picture, depth and true masks at t seconds."""
        camera = self.camera(t)
        aim(self._bank, camera)
        self._renderer.update()
        rgb = self._renderer.rgb()
        geoms, depth = self._renderer.geoms(depth=True)
        masks: dict[tuple[str, str], np.ndarray] = {}
        for p in self._placed:
            name = p.item.object
            for part, geom in zip(p.item.parts, p.item.geoms, strict=True):
                mask = geoms == geom
                for key in ((name, part.part), (name, "")):
                    masks[key] = masks[key] | mask if key in masks else mask
        assert depth is not None
        return Frame(rgb, depth, camera.intrinsics(self.width, self.height), camera.pose, masks)

    def part_points(self, object: str, part: str, count: int = 4000) -> np.ndarray:
        """True surface points float32 [count, 3] of a part ("": all), world frame, metres.

        Raises:
            DatasetError: the scene has no such object or part; the message names those it has.
        """
        import trimesh

        pieces = [
            piece.mesh.copy().apply_transform(p.pose)
            for p in self._placed
            if p.item.object == object
            for piece in p.item.parts
            if part in ("", piece.part)
        ]
        if not pieces:
            known = sorted({(p.item.object, q.part) for p in self._placed for q in p.item.parts})
            raise DatasetError(f"This scene has no {(object, part)!r}; it has {known}.")
        whole = trimesh.util.concatenate(pieces)
        points, _ = trimesh.sample.sample_surface(whole, count, seed=0)
        return np.asarray(points, dtype=np.float32)

    def close(self) -> None:
        """Free the scene's OpenGL objects."""
        self._renderer.close()
