"""Simulated camera that circles one tabletop scene, with ground truth for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovps_core.errors import DatasetError, UsageError
from ovps_core.synthetic.catalogue import object_class
from ovps_core.synthetic.layout import PlacedItem, arrange_on_table
from ovps_core.synthetic.object_pool import build_object_pool
from ovps_core.synthetic.renderer import Renderer
from ovps_core.synthetic.scene import (
    assign_materials,
    populate_renderer,
    set_camera,
    set_lights,
)
from ovps_core.synthetic.viewpoint import SceneCamera, Viewpoint, fit_camera

FOVY = 45.0
"""Vertical field of view, degrees."""

ORBIT_SECONDS = 20.0
_MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class VisibleObject:
    """One object of a frame, with its visible pixels.

    Attributes:
        name: object name.
        mask: bool [H, W], the whole object; all False if it is hidden or out of view.
        parts: bool [H, W] of each of its parts.
    """

    name: str
    mask: np.ndarray
    parts: dict[str, np.ndarray]


@dataclass(frozen=True)
class Frame:
    """One frame of the simulated camera with its ground truth.

    Attributes:
        rgb: uint8 [H, W, 3].
        depth: float32 [H, W] metres along the optical axis; 0 on empty pixels.
        intrinsics: float64 [3, 3] pixels; pixel centres at integer coordinates, no distortion.
        camera_pose: float64 [4, 4], optical frame (x right, y down, z forward) to world.
        masks: bool [H, W] of each (object, part); the key (object, "") holds the whole object.
        objects: the objects one by one, in the order in which they were named.
    """

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    camera_pose: np.ndarray
    masks: dict[tuple[str, str], np.ndarray]
    objects: tuple[VisibleObject, ...] = ()


class LiveScene:
    """A table with named objects and a camera that circles it once in 20 s.

    The origin of the world frame is the middle of the table's top; z points up. The same objects
    and seed give the same frames. Shapes come from the "test" split, so no model was trained on
    them.

        scene = LiveScene(["knife", "mug", "pan"], seed=3)
        frame = scene.frame(t=0.5)
        handle = frame.masks["knife", "handle"]
        scene.close()
    """

    def __init__(
        self,
        objects: Sequence[str],
        seed: int = 0,
        width: int = 640,
        height: int = 480,
        spacing: float = 0.0,
    ) -> None:
        """Place the objects on the table.

        Args:
            objects: keys of ``catalogue.OBJECT_CLASSES``; a name may occur twice.
            seed: seed of shapes, colours, positions, lights and the orbit.
            width: of the frames, pixels.
            height: of the frames, pixels.
            spacing: metres that each object keeps free around it; 0 lets neighbours touch.

        Raises:
            DatasetError: an object is unknown.
            UsageError: the list is empty, the table has no room for all objects, or the frame has fewer than
                16 x 16 pixels.
            BackendError: off-screen OpenGL cannot start here.
        """
        if not objects:
            raise UsageError("A live scene needs at least one object, such as ['knife', 'mug'].")
        if width < 16 or height < 16:
            raise UsageError(f"A frame needs at least 16x16 pixels; given {width}x{height}.")
        classes = [object_class(name) for name in objects]
        self.width, self.height = width, height
        rng = np.random.default_rng([seed, len(objects)])
        self._pool = build_object_pool(classes, rng, "test", width, height, samples=0)
        self._placed = self._place_all(rng, spacing)
        self._points = np.vstack([p.points for p in self._placed])
        self._start = rng.uniform(0, 2 * np.pi)
        self._elevation = np.radians(rng.uniform(42, 52))
        views = [self._fit(a, 0.1) for a in np.linspace(0, 2 * np.pi, 16)]
        middle = (self._points.min(0) + self._points.max(0)) / 2
        self._distance = max(float(np.linalg.norm(v.pose[:3, 3] - middle)) for v in views)
        assign_materials(self._pool, self._placed, rng)
        populate_renderer(self._pool, self._placed, views[0])
        set_lights(self._pool, rng)
        self._renderer = Renderer(self._pool, width, height)

    def _place_all(self, rng: np.random.Generator, spacing: float) -> list[PlacedItem]:
        for _ in range(_MAX_ATTEMPTS):
            placed = arrange_on_table(self._pool.items, rng, spacing=spacing)
            if len(placed) == len(self._pool.items):
                return placed
        names = [item.object_name for item in self._pool.items]
        raise UsageError(f"{len(names)} objects do not fit on the table ({names}); name fewer.")

    def _fit(self, azimuth: float, near: float, far: float = 2.0) -> SceneCamera:
        view = Viewpoint(
            azimuth=azimuth,
            elevation=self._elevation,
            fovy=FOVY,
            margin=1.05,
            near=near,
            far=far,
            aspect=self.width / self.height,
        )
        return fit_camera(self._points, view)

    def camera(self, t: float) -> SceneCamera:
        """Return the camera at ``t`` seconds on its orbit."""
        azimuth = self._start + 2 * np.pi * t / ORBIT_SECONDS
        return self._fit(azimuth, self._distance, self._distance)

    def frame(self, t: float) -> Frame:
        """Render picture, depth and ground-truth masks at ``t`` seconds."""
        camera = self.camera(t)
        set_camera(self._pool, camera)
        self._renderer.update()
        rgb = self._renderer.rgb()
        geoms, depth = self._renderer.geom_ids_and_depth()
        masks: dict[tuple[str, str], np.ndarray] = {}
        objects = tuple(_visible(placed, geoms) for placed in self._placed)
        for found in objects:
            for part, mask in (*found.parts.items(), ("", found.mask)):
                key = found.name, part
                masks[key] = masks[key] | mask if key in masks else mask
        intrinsics = camera.intrinsics(self.width, self.height)
        return Frame(rgb, depth, intrinsics, camera.pose, masks, objects)

    def part_points(self, object_name: str, part_name: str, count: int = 4000) -> np.ndarray:
        """Sample points float32 [count, 3] on a part's true surface, world frame, metres.

        Args:
            object_name: an object of the scene.
            part_name: one of its parts; "" samples the whole object.
            count: number of points.

        Raises:
            DatasetError: the scene has no such object or part; the message lists those that it has.
        """
        import trimesh

        pieces = [
            piece.mesh.copy().apply_transform(p.pose)
            for p in self._placed
            if p.item.object_name == object_name
            for piece in p.item.parts
            if part_name in ("", piece.part)
        ]
        if not pieces:
            known = sorted(
                {(p.item.object_name, q.part) for p in self._placed for q in p.item.parts}
            )
            raise DatasetError(f"This scene has no {(object_name, part_name)!r}; it has {known}.")
        whole = trimesh.util.concatenate(pieces)
        points, _ = trimesh.sample.sample_surface(whole, count, seed=0)
        return np.asarray(points, dtype=np.float32)

    def close(self) -> None:
        """Free the scene's OpenGL objects."""
        self._renderer.close()


def _visible(placed: PlacedItem, geoms: np.ndarray) -> VisibleObject:
    """The pixels of an object in a map of geometry ids [H, W]."""
    parts: dict[str, np.ndarray] = {}
    for part, geom in zip(placed.item.parts, placed.item.geoms, strict=True):
        mask = geoms == geom
        parts[part.part] = parts[part.part] | mask if part.part in parts else mask
    whole = np.any(list(parts.values()), axis=0)
    return VisibleObject(placed.item.object_name, whole, parts)
