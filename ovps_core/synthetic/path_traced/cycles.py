"""Rendering of a composition with Blender's Cycles: linear radiance, exact labels, metric depth."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ovps_core.synthetic.path_traced.compose import Composition, model_of
from ovps_core.synthetic.path_traced.object_models import ObjectModel, Surface
from ovps_core.synthetic.path_traced.room import build_room
from ovps_core.synthetic.path_traced.settings import PathTraceSettings
from ovps_core.synthetic.path_traced.shading import add_material
from ovps_core.synthetic.viewpoint import SceneCamera

BOUNCES = {
    "max_bounces": 6, "diffuse_bounces": 2, "glossy_bounces": 2, "transmission_bounces": 6,
    "transparent_max_bounces": 8,
}  # fmt: skip


class CyclesScene:
    """One composition as Blender's current scene. Call :meth:`labels` first, then :meth:`radiance`.

    Args:
        object_part_id: (object, part) -> pixel value of a part map; others are 0.
        threads: number of threads of Cycles.
    """

    def __init__(
        self,
        composition: Composition,
        settings: PathTraceSettings,
        object_part_id: dict[tuple[str, str], int],
        rng: np.random.Generator,
        threads: int,
    ) -> None:
        import bpy

        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene: Any = bpy.context.scene
        self._settings = settings
        _configure(self._scene, settings, threads)
        self.instances: list[tuple[str, str, np.ndarray]] = []
        for placed in composition.placed:
            model = model_of(placed)
            _add_model(model, placed.pose, len(self.instances), object_part_id)
            self.instances += [(name, model.source, placed.pose) for name, _ in model.owners()]
        build_room(composition, settings, rng)
        self._camera = _add_camera(self._scene, composition.camera)
        if rng.random() < 0.35:
            self._camera.dof.focus_distance = composition.focus
            # f-number of a full-frame camera with the same view; small sensors blur less.
            self._fstop = float(np.exp(rng.uniform(np.log(5.0), np.log(22.0))))
        else:
            self._fstop = 0.0

    def labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Render labels and depth at the centre of every pixel.

        Returns:
            Part map and object map, uint8 [H, W]; depth float32 [H, W] in metres along the
            optical axis, 0 on empty pixels.
        """
        scene = self._scene
        self._camera.dof.use_dof = False
        scene.cycles.samples = 1
        scene.cycles.max_bounces = 0
        scene.cycles.use_denoising = False
        # One path through each pixel's centre, so that no edge mixes two labels.
        scene.cycles.pixel_filter_type = "BOX"
        scene.cycles.filter_width = 0.01
        scene.use_nodes = True
        pixels = self._draw("32")
        scene.use_nodes = False
        objects, parts, depth = (pixels[..., k] for k in range(3))
        depth = np.where(depth > 1e3, 0.0, depth)
        return (
            np.round(parts).astype(np.uint8), np.round(objects).astype(np.uint8),
            depth.astype(np.float32),
        )  # fmt: skip

    def radiance(self) -> np.ndarray:
        """Render linear radiance, float32 [H, W, 3], path-traced and denoised."""
        scene = self._scene
        scene.cycles.samples = self._settings.samples
        scene.cycles.use_denoising = True
        scene.cycles.pixel_filter_type = "BLACKMAN_HARRIS"
        scene.cycles.filter_width = 1.2
        for name, value in BOUNCES.items():
            setattr(scene.cycles, name, value)
        self._camera.dof.use_dof = self._fstop > 0
        if self._fstop > 0:
            self._camera.dof.aperture_fstop = self._fstop
        return self._draw("16")[..., :3]

    def _draw(self, depth: str) -> np.ndarray:
        """Render and read back float32 [H, W, 4]; ``depth`` is the bits of a channel."""
        import bpy

        # Blender returns float pixels only through files; /dev/shm keeps them in memory.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            path = str(Path(folder) / "picture.exr")
            self._scene.render.filepath = path
            self._scene.render.image_settings.color_depth = depth
            with _quiet():
                bpy.ops.render.render(write_still=True)
            image = bpy.data.images.load(path)
            width, height = image.size
            pixels = np.empty(width * height * image.channels, np.float32)
            image.pixels.foreach_get(pixels)
            bpy.data.images.remove(image)
        return pixels.reshape(height, width, -1)[::-1].copy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress lines that Blender's C++ code writes to standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _configure(scene: Any, settings: PathTraceSettings, threads: int) -> None:
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    cycles.device = "CPU"
    render.threads_mode, render.threads = "FIXED", threads
    render.resolution_x = render.resolution_y = settings.size
    render.resolution_percentage = 100
    # Geometry stays loaded between the picture of labels and that of light.
    render.use_persistent_data = True
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode = "RGB"
    cycles.seed = settings.seed
    cycles.use_adaptive_sampling = False
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"
    cycles.sample_clamp_indirect = 4.0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    layer = scene.view_layers[0]
    layer.use_pass_object_index = layer.use_pass_material_index = layer.use_pass_z = True
    _route_labels(scene)


def _route_labels(scene: Any) -> None:
    """Route object index, material index and depth to the three channels of the composited picture."""
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers = tree.nodes.new("CompositorNodeRLayers")
    combine = tree.nodes.new("CompositorNodeCombineColor")
    output = tree.nodes.new("CompositorNodeComposite")
    for name, channel in (("IndexOB", "Red"), ("IndexMA", "Green"), ("Depth", "Blue")):
        tree.links.new(layers.outputs[name], combine.inputs[channel])
    tree.links.new(combine.outputs[0], output.inputs[0])
    scene.use_nodes = False


def _add_camera(scene: Any, camera: SceneCamera) -> Any:
    import bpy
    from mathutils import Matrix

    data = bpy.data.cameras.new("eye")
    data.angle = float(np.radians(camera.fovy))
    data.clip_start, data.clip_end = 0.01, 50.0
    eye = bpy.data.objects.new("eye", data)
    # Blender's camera looks along -z with y up.
    eye.matrix_world = Matrix((camera.pose @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist())
    scene.collection.objects.link(eye)
    scene.camera = eye
    return data


def _add_model(
    model: ObjectModel, pose: np.ndarray, before: int, object_part_id: dict[tuple[str, str], int]
) -> None:
    """Add one model; the pass indices of its meshes continue after ``before`` labelled objects."""
    import bpy
    from mathutils import Matrix

    points = np.vstack([s.vertices for s in model.surfaces])
    size = float(np.ptp(points, axis=0).max())
    owners = model.owners()
    made: dict[tuple[Any, int], Any] = {}
    for surface in model.surfaces:
        owner = surface.owner or model.object_name
        mesh = _mesh(surface)
        for part, finish in zip(surface.parts, surface.finishes, strict=True):
            label = object_part_id.get((owner, part), 0)
            if (finish, label) not in made:
                made[finish, label] = add_material(finish, f"{owner} {part}", label, size)
            mesh.materials.append(made[finish, label])
        holder = bpy.data.objects.new(model.object_name or "clutter", mesh)
        holder.matrix_world = Matrix(pose.tolist())
        holder.pass_index = before + 1 + owners.index((owner, surface.number)) if owner else 0
        bpy.context.scene.collection.objects.link(holder)


def _mesh(surface: Surface) -> Any:
    """Make a Blender mesh with smooth shading, a material index per face and texture coordinates."""
    import bpy

    mesh = bpy.data.meshes.new("surface")
    mesh.from_pydata(surface.vertices.tolist(), [], surface.faces.tolist())
    mesh.polygons.foreach_set("material_index", surface.face_parts.astype(np.int32))
    if surface.corner_uv is not None:
        layer = mesh.uv_layers.new()
        layer.data.foreach_set("uv", surface.corner_uv.astype(np.float32).ravel())
    mesh.validate()
    mesh.shade_smooth()
    mesh.set_sharp_from_angle(angle=float(np.radians(surface.crease)))
    return mesh
