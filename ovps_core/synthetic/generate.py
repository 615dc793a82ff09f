"""Writer of folders of rendered scenes: deterministic, resumable, in memory-mapped shards."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ovps_core.errors import DatasetError, OutputError
from ovps_core.structures.whole_files import unfinished_folder, write_json
from ovps_core.synthetic.catalogue import (
    HELD_OUT_OBJECT_PARTS,
    classes_of,
    object_parts_of,
)
from ovps_core.synthetic.label_maps import label_maps
from ovps_core.synthetic.object_pool import ObjectPool, build_object_pool
from ovps_core.synthetic.objects import clutter
from ovps_core.synthetic.reader import scenes_in
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

_SCENES_PER_SECOND = 1.3  # of one process on an ordinary core

SettingsT = TypeVar("SettingsT", "RenderSettings", "ScanSettings")


def _stream(settings: RenderSettings, shard: int, scene: int) -> np.random.Generator:
    """Return the random stream of one scene (from 1), or of the shard's object pool (0)."""
    split, level = SPLITS.index(settings.split), LEVELS.index(settings.level)
    return np.random.default_rng([settings.seed, split, level, shard, scene])


def shard_object_pool(settings: RenderSettings, shard: int) -> ObjectPool:
    """Build the objects of a shard: one of each class that may be shown, and clutter."""
    rng = _stream(settings, shard, 0)
    classes = [*classes_of(settings.level, settings.objects), *clutter.classes()]
    if settings.assets:
        from ovps_core.synthetic.assets import asset_classes

        classes += asset_classes(settings.assets)
    if settings.meshes:
        from ovps_core.synthetic.mesh_folder import mesh_classes

        own = mesh_classes(settings.meshes, settings.mesh_units)
        classes += own * max(1, len(classes) // (4 * len(own)))  # a fifth of the pool
    return build_object_pool(classes, rng, settings.split, settings.size, settings.size)


def folder_object_parts(settings: RenderSettings) -> list[tuple[str, str]]:
    """(object, part) of the pixel values from 1 on: those of the level, then those of the mesh files.

    Raises:
        DatasetError: the folder of meshes holds nothing usable.
    """
    own: list[tuple[str, str]] = []
    if settings.meshes:
        from ovps_core.synthetic.mesh_folder import mesh_object_parts

        own = mesh_object_parts(settings.meshes)
    return list(dict.fromkeys([*object_parts_of(settings.level, settings.objects), *own]))


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
    values = {pair: i for i, pair in enumerate(folder_object_parts(settings), start=1)}
    parts, objects, instances = label_maps(pool, placed, geoms, values)
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
    """Write the scenes of one shard below ``folder``, all or nothing; return their number.

    Raises:
        OutputError: the shard cannot be written.
    """
    depth = [s.depth for s in scenes if s.depth is not None]
    records = [
        {
            "intrinsics": s.intrinsics.tolist(),
            "camera_pose": s.camera_pose.tolist(),
            "instances": [{"object": name, "pose": pose.tolist()} for name, pose in s.instances],
        }
        for s in scenes
    ]
    with unfinished_folder(Path(folder) / f"shard_{shard:05d}") as partial:
        partial.mkdir()
        np.save(partial / "rgb.npy", np.stack([s.rgb for s in scenes]))
        np.save(partial / "parts.npy", np.stack([s.parts for s in scenes]))
        np.save(partial / "objects.npy", np.stack([s.objects for s in scenes]))
        if depth:
            np.save(partial / "depth.npy", np.stack(depth))
        write_json(partial / "scenes.json", records)
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
        OutputError: a shard cannot be written, or a process was killed.
    """
    out = Path(out)
    write_folder(out, settings, folder_object_parts(settings), _write_shard, workers)
    return out


def announce(folders: Mapping[Path, RenderSettings], workers: int) -> str:
    """Say how many scenes are still to be rendered, and about how much disk and time they take.

    Args:
        folders: settings of each folder; shards that are there already are not counted.
        workers: number of processes.

    Raises:
        OutputError: the disk has no room for them.
    """
    count, size = 0, 0
    for folder, settings in folders.items():
        left = sum(_shard_length(settings, shard) for shard in _missing_shards(folder, settings))
        count += left
        size += left * settings.bytes_per_scene
    place = Path(os.path.commonpath([folder.absolute() for folder in folders]))
    free = shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
    text = f"{count} scenes to render: {size / 1e9:.1f} GB in {place}"
    if size > free:
        raise OutputError(f"{text}, but the disk has {free / 1e9:.1f} GB left; render fewer scenes")
    hours = count / (_SCENES_PER_SECOND * workers) / 3600
    time = f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
    return f"{text}, about {time} with {workers} processes"


def _missing_shards(out: Path, settings: RenderSettings | ScanSettings) -> list[int]:
    """Shards that are not there, or that a run with a smaller count ended early."""
    lengths = {
        shard: _shard_length(settings, shard)
        for shard in range(-(-settings.count // SCENES_PER_SHARD))
    }
    return [s for s, length in lengths.items() if scenes_in(out / f"shard_{s:05d}") < length]


def _shard_length(settings: RenderSettings | ScanSettings, shard: int) -> int:
    return min(SCENES_PER_SHARD, settings.count - shard * SCENES_PER_SHARD)


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
        OutputError: a shard cannot be written, or a process was killed.
    """
    from tqdm import tqdm

    from ovps_core.synthetic.renderer import choose_backend

    choose_backend()
    out.mkdir(parents=True, exist_ok=True)
    _write_header(out, settings, object_parts)
    missing = _missing_shards(out, settings)
    for shard in missing:
        shutil.rmtree(out / f"shard_{shard:05d}", ignore_errors=True)  # one that ended early
    tasks = [(settings, str(out), shard) for shard in missing]
    done = settings.count - sum(_shard_length(settings, shard) for shard in missing)
    with tqdm(total=settings.count, initial=done, unit="scene", desc=settings.level) as bar:
        written = (
            map(write_shard, tasks) if workers <= 1 else _spread(write_shard, tasks, workers, out)
        )
        for length in written:
            bar.update(length)


def _spread(
    write_shard: Callable[[tuple[SettingsT, str, int]], int],
    tasks: Sequence[tuple[SettingsT, str, int]],
    workers: int,
    out: Path,
) -> Iterator[int]:
    """Write shards in processes; the number of scenes of each as it ends.

    Raises:
        OutputError: a process was killed.
    """
    left = iter(tasks)
    # Spawned, because an OpenGL context does not survive a fork.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        # None waits in the pool: after an error or Ctrl-C no further one would be begun.
        running = {pool.submit(write_shard, task) for task in islice(left, workers)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
                running |= {pool.submit(write_shard, task) for task in islice(left, len(done))}
        except BrokenProcessPool as error:
            raise OutputError(
                f"a process that wrote scenes into {out} was killed, as the system does when memory runs out; the "
                "same command continues, fewer workers need less memory"
            ) from error
        except BaseException:  # else the pool would wait for the shards that are being written
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _write_header(
    out: Path, given: RenderSettings | ScanSettings, object_parts: Sequence[tuple[str, str]]
) -> None:
    settings = _with_lists(asdict(given))
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
        # The defaults stand for settings that are newer than the folder.
        defaults = _with_lists({f.name: f.default for f in fields(given)})
        known = {**defaults, **found["settings"], "count": settings["count"]}
        if known != settings or found["pairs"] != header["pairs"]:
            raise DatasetError(
                f"{out} holds scenes of other settings ({found['settings']}); requested "
                f"{settings}. Name another folder, or remove this one."
            )
        old = replace(given, count=found["settings"]["count"])
        if given.count < old.count and not _missing_shards(out, old):
            return  # all of the longer run stays readable
    write_json(path, header)


def _with_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values as JSON holds them, with a list for each tuple."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
