"""Writer of folders of rendered scenes: deterministic, resumable, in memory-mapped shards."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ovps_core.errors import DatasetError
from ovps_core.synthetic.catalogue import (
    HELD_OUT_OBJECT_PARTS,
    OBJECT_PART_ID,
    classes_of,
    object_parts_of,
)
from ovps_core.synthetic.layout import PlacedItem
from ovps_core.synthetic.object_pool import ObjectPool, build_object_pool
from ovps_core.synthetic.objects import clutter
from ovps_core.synthetic.settings import (
    FORMAT,
    LEVELS,
    SCENES_PER_SHARD,
    SPLITS,
    RenderSettings,
    Scene,
)

if TYPE_CHECKING:
    from ovps_core.synthetic.renderer import Renderer
    from ovps_core.synthetic.scan_scenes import ScanSettings

SettingsT = TypeVar("SettingsT", "RenderSettings", "ScanSettings")


def _stream(settings: RenderSettings, shard: int, scene: int) -> np.random.Generator:
    """Return the random stream of one scene (from 1), or of the shard's object pool (0)."""
    split, level = SPLITS.index(settings.split), LEVELS.index(settings.level)
    return np.random.default_rng([settings.seed, split, level, shard, scene])


def shard_object_pool(settings: RenderSettings, shard: int) -> ObjectPool:
    """Build the objects of a shard: one of each class of the level, and clutter."""
    rng = _stream(settings, shard, 0)
    classes = [*classes_of(settings.level), *clutter.classes()]
    if settings.assets:
        from ovps_core.synthetic.assets import asset_classes

        classes += asset_classes(settings.assets)
    return build_object_pool(classes, rng, settings.split, settings.size, settings.size)


def label_maps(
    pool: ObjectPool, placed: Sequence[PlacedItem], geoms: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, np.ndarray]]]:
    """Convert geom ids to labels.

    Args:
        pool: the object pool that was rendered.
        placed: the objects of the scene.
        geoms: int32 [H, W] MuJoCo geom ids, -1 on empty pixels.

    Returns:
        Part map uint8 [H, W], object map uint8 [H, W], and each instance's name and pose [4, 4].
    """
    # One row more than geoms: the id -1 of empty pixels reads the last row, which stays 0.
    object_part_of_geom = np.zeros(pool.model.ngeom + 1, np.uint8)
    instance_of_geom = np.zeros(pool.model.ngeom + 1, np.uint8)
    instances: list[tuple[str, np.ndarray]] = []
    for p in placed:
        if p.item.object_name == clutter.CLUTTER:
            continue
        instances.append((p.item.object_name, p.pose))
        for part, geom in zip(p.item.parts, p.item.geoms, strict=True):
            object_part_of_geom[geom] = OBJECT_PART_ID[(p.item.object_name, part.part)]
            instance_of_geom[geom] = len(instances)
    return object_part_of_geom[geoms], instance_of_geom[geoms], instances


def render_shard(settings: RenderSettings, shard: int) -> list[Scene]:
    """Render all scenes of one shard; the same settings and shard give the same pixels.

    Raises:
        BackendError: off-screen OpenGL cannot start here.
        DatasetError: the folder of backgrounds or of meshes holds nothing usable.
    """
    from ovps_core.synthetic.renderer import Renderer

    pool = shard_object_pool(settings, shard)
    renderer = Renderer(pool, settings.size, settings.size)
    first = shard * SCENES_PER_SHARD
    try:
        return [
            _render_scene(settings, pool, renderer, _stream(settings, shard, 1 + i))
            for i in range(min(SCENES_PER_SHARD, settings.count - first))
        ]
    finally:
        renderer.close()


def _render_scene(
    settings: RenderSettings, pool: ObjectPool, renderer: Renderer, rng: np.random.Generator
) -> Scene:
    from ovps_core.synthetic.camera_effects import INDOOR_CAMERA, simulate_camera
    from ovps_core.synthetic.scene import compose_tabletop
    from ovps_core.synthetic.wild import apply_wild_effects, compose_wild

    wild, floating = settings.level == "wild", False
    if wild:
        placed, camera, floating = compose_wild(pool, rng)
    else:
        placed, camera = compose_tabletop(pool, rng)
    renderer.update()
    rgb = renderer.rgb()
    depth = None
    if settings.depth:
        geoms, depth = renderer.geom_ids_and_depth()
    else:
        geoms = renderer.geom_ids()
    parts, objects, instances = label_maps(pool, placed, geoms)
    if wild:
        rgb, parts, objects = apply_wild_effects(
            rgb,
            parts,
            objects,
            is_background=np.isin(geoms, (-1, pool.table_geom, pool.floor_geom)),
            floating=floating,
            photos=settings.backgrounds,
            rng=rng,
        )
    else:
        rgb = simulate_camera(rgb, rng, INDOOR_CAMERA)
    intrinsics = camera.intrinsics(settings.size, settings.size)
    return Scene(rgb, parts, objects, depth, intrinsics, camera.pose, tuple(instances))


def save_shard(folder: str | Path, shard: int, scenes: Sequence[Scene]) -> int:
    """Write the scenes of one shard below ``folder``; return their number."""
    final = Path(folder) / f"shard_{shard:05d}"
    partial = final.with_name(final.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "rgb.npy", np.stack([s.rgb for s in scenes]))
    np.save(partial / "parts.npy", np.stack([s.parts for s in scenes]))
    np.save(partial / "objects.npy", np.stack([s.objects for s in scenes]))
    depth = [s.depth for s in scenes if s.depth is not None]
    if depth:
        np.save(partial / "depth.npy", np.stack(depth))
    records = [
        {
            "intrinsics": s.intrinsics.tolist(),
            "camera_pose": s.camera_pose.tolist(),
            "instances": [{"object": name, "pose": pose.tolist()} for name, pose in s.instances],
        }
        for s in scenes
    ]
    (partial / "scenes.json").write_text(json.dumps(records))
    os.replace(partial, final)
    return len(scenes)


def _write_shard(task: tuple[RenderSettings, str, int]) -> int:
    settings, out, shard = task
    return save_shard(out, shard, render_shard(settings, shard))


def generate(out: str | Path, settings: RenderSettings, workers: int = 1) -> Path:
    """Render a folder of scenes; a second call continues an interrupted run.

    The folder holds ``scenes.json`` (settings, object parts, held-out object parts) and the folders
    ``shard_00000``, ``shard_00001``, ... Each shard has rgb.npy uint8 [N, H, W, 3], parts.npy and
    objects.npy uint8 [N, H, W], optionally depth.npy float32 [N, H, W] in metres, and scenes.json
    with intrinsics, camera poses and instances. ``reader.RenderedScenes`` reads it.

    Args:
        out: the folder, created if needed.
        settings: decide the pixels.
        workers: number of processes.

    Returns:
        ``out`` as a path.

    Raises:
        DatasetError: the folder holds scenes of other settings.
        BackendError: off-screen OpenGL cannot start here.
    """
    out = Path(out)
    object_parts = object_parts_of(settings.level)
    write_folder(out, settings, object_parts, _write_shard, workers)
    return out


def write_folder(
    out: Path,
    settings: SettingsT,
    object_parts: Sequence[tuple[str, str]],
    write_shard: Callable[[tuple[SettingsT, str, int]], int],
    workers: int,
) -> None:
    """Write a folder's header and its missing shards.

    Args:
        out: the folder, created if needed.
        settings: decide the pixels.
        object_parts: pixel value i + 1 of a part map is ``object_parts[i]``.
        write_shard: module-level function of (settings, folder, shard number) that renders and
            saves one shard and returns its number of scenes.
        workers: number of processes.

    Raises:
        DatasetError: the folder holds scenes of other settings.
        BackendError: off-screen OpenGL cannot start here.
    """
    from tqdm import tqdm

    from ovps_core.synthetic.renderer import choose_backend

    choose_backend()
    out.mkdir(parents=True, exist_ok=True)
    _write_header(out, asdict(settings), object_parts)
    shards = range(-(-settings.count // SCENES_PER_SHARD))
    missing = [s for s in shards if not (out / f"shard_{s:05d}").exists()]
    tasks = [(settings, str(out), s) for s in missing]
    done = settings.count - sum(
        min(SCENES_PER_SHARD, settings.count - s * SCENES_PER_SHARD) for s in missing
    )
    with tqdm(total=settings.count, initial=done, unit="scene", desc=settings.level) as bar:
        if workers <= 1:
            for task in tasks:
                bar.update(write_shard(task))
        else:
            # Spawned, because an OpenGL context does not survive a fork.
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                for written in pool.imap_unordered(write_shard, tasks):
                    bar.update(written)


def _write_header(
    out: Path, settings: dict[str, Any], object_parts: Sequence[tuple[str, str]]
) -> None:
    header: dict[str, Any] = {
        "format": FORMAT,
        "settings": settings,
        "scenes_per_shard": SCENES_PER_SHARD,
        "pairs": [list(object_part) for object_part in object_parts],
        "held_out_pairs": [list(object_part) for object_part in HELD_OUT_OBJECT_PARTS],
    }
    path = out / "scenes.json"
    if path.exists():
        found = json.loads(path.read_text())
        # A longer run continues a shorter one when its last shard was full.
        known = {**found["settings"], "count": settings["count"]}
        if known != settings or found["pairs"] != header["pairs"]:
            raise DatasetError(
                f"{out} holds scenes of other settings ({found['settings']}); requested "
                f"{settings}. Name another folder, or remove this one."
            )
        old = found["settings"]["count"]
        if settings["count"] > old and old % SCENES_PER_SHARD:
            shutil.rmtree(out / f"shard_{old // SCENES_PER_SHARD:05d}", ignore_errors=True)
        if settings["count"] < old:
            return
    path.write_text(json.dumps(header, indent=1))
