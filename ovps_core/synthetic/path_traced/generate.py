"""Writer of a folder of path-traced scenes: deterministic, resumable, and readable while it grows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ovps_core.errors import DatasetError
from ovps_core.structures.whole_files import unfinished, unfinished_folder, write_json
from ovps_core.synthetic.path_traced.compose import compose
from ovps_core.synthetic.path_traced.scans import extra_object_parts
from ovps_core.synthetic.path_traced.sensor import photograph_linear
from ovps_core.synthetic.path_traced.settings import (
    SCENES_PER_SHARD,
    PathTraceSettings,
    require_path_tracer,
)
from ovps_core.synthetic.reader import scenes_in
from ovps_core.synthetic.settings import FORMAT, Scene

MIN_LABELLED = 0.008
"""Minimum share of the picture that labelled parts cover."""

ATTEMPTS = 40
"""Compositions that are tried for one scene."""


def all_object_parts(settings: PathTraceSettings) -> list[tuple[str, str]]:
    """List the (object, part) of the part maps: the catalogue's, then those that only scans have."""
    from ovps_core.synthetic.catalogue import OBJECT_PARTS

    return [*OBJECT_PARTS, *extra_object_parts(settings.scans)]


def render_scene(
    settings: PathTraceSettings, index: int, threads: int = 1
) -> tuple[Scene, list[str]]:
    """Render one scene; the same settings and index give the same scene.

    Returns:
        The scene, and the source of each instance: "procedural", a scan or a piece of furniture.

    Raises:
        DatasetError: no composition of this index shows enough labelled pixels.
    """
    from ovps_core.synthetic.path_traced.cycles import CyclesScene

    object_part_id = {
        object_part: i + 1 for i, object_part in enumerate(all_object_parts(settings))
    }
    for attempt in range(ATTEMPTS):
        rng = settings.stream(index, attempt)
        composition = compose(settings, rng)
        if composition is None:
            continue
        drawn = CyclesScene(composition, settings, object_part_id, rng, threads)
        parts, objects, depth = drawn.labels()
        if (parts > 0).mean() < MIN_LABELLED:
            continue
        rgb = photograph_linear(drawn.radiance(), rng)
        camera = composition.camera
        scene = Scene(
            rgb, parts, objects, depth, camera.intrinsics(settings.size, settings.size),
            camera.pose, tuple((name, pose) for name, _, pose in drawn.instances),
        )  # fmt: skip
        return scene, [source for _, source, _ in drawn.instances]
    raise DatasetError(
        f"Scene {index} shows nothing in {ATTEMPTS} attempts; the scans may be broken."
    )


def generate(out: str | Path, settings: PathTraceSettings, count: int, threads: int = 1) -> Path:
    """Render scenes 0 to count - 1 into a folder; a second call continues an interrupted run.

    The folder has the format of ``synthetic.generate``. Its header counts the finished shards, so
    ``reader.RenderedScenes`` reads it while it grows. Scenes of an unfinished shard wait in
    ``shard_00000.part/``.

    Raises:
        DatasetError: the folder holds scenes of other settings.
        MissingDependencyError: Blender or a mesh library is not installed.
    """
    from tqdm import tqdm

    require_path_tracer()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _check_header(out, settings)
    with tqdm(total=count, unit="scene", mininterval=10.0) as bar:
        for first in range(0, count, SCENES_PER_SHARD):
            shard = first // SCENES_PER_SHARD
            length = min(SCENES_PER_SHARD, count - first)
            final = out / f"shard_{shard:05d}"
            partial = final.with_name(final.name + ".part")
            if scenes_in(final) >= length:
                bar.update(length)
                continue
            partial.mkdir(exist_ok=True)
            for i in range(length):
                _render_to(partial / f"{i:03d}.npz", settings, first + i, threads)
                bar.update(1)
            _finish_shard(partial, final, length)
            _write_header(out, settings, first + length)
    return out


def _render_to(path: Path, settings: PathTraceSettings, index: int, threads: int) -> None:
    """Render one scene into a file, unless it is there."""
    if path.is_file():
        return
    scene, sources = render_scene(settings, index, threads)
    record = {
        "intrinsics": scene.intrinsics.tolist(),
        "camera_pose": scene.camera_pose.tolist(),
        "instances": [
            {"object": name, "pose": pose.tolist(), "source": source}
            for (name, pose), source in zip(scene.instances, sources, strict=True)
        ],
    }
    assert scene.depth is not None
    with unfinished(path) as beside, beside.open("wb") as file:
        np.savez(
            file, rgb=scene.rgb, parts=scene.parts, objects=scene.objects, depth=scene.depth,
            record=np.array(json.dumps(record)),
        )  # fmt: skip


def _finish_shard(partial: Path, final: Path, length: int) -> None:
    """Turn the scenes of a shard into arrays that memory-map; an older, shorter shard is replaced."""
    scenes = [dict(np.load(partial / f"{i:03d}.npz")) for i in range(length)]
    with unfinished_folder(final) as ready:
        ready.mkdir()
        for name in ("rgb", "parts", "objects", "depth"):
            np.save(ready / f"{name}.npy", np.stack([scene[name] for scene in scenes]))
        write_json(ready / "scenes.json", [json.loads(str(scene["record"])) for scene in scenes])
        shutil.rmtree(final, ignore_errors=True)  # a folder cannot be renamed onto another
    # A last shard that was cut short keeps its scenes' files, for a longer run to go on with.
    if length == SCENES_PER_SHARD:
        shutil.rmtree(partial)


def _check_header(out: Path, settings: PathTraceSettings) -> None:
    path = out / "scenes.json"
    if not path.exists():
        _write_header(out, settings, 0)
        return
    found = json.loads(path.read_text())["settings"]
    found.pop("count")
    if found != settings.header():
        raise DatasetError(
            f"{out} holds scenes of other settings ({found}); requested {settings.header()}. "
            "Name another folder, or remove this one."
        )


def _write_header(out: Path, settings: PathTraceSettings, count: int) -> None:
    from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS

    header: dict[str, Any] = {
        "format": FORMAT,
        "settings": {**settings.header(), "count": count},
        "scenes_per_shard": SCENES_PER_SHARD,
        "pairs": [list(pair) for pair in all_object_parts(settings)],
        "held_out_pairs": [list(pair) for pair in HELD_OUT_OBJECT_PARTS],
    }
    write_json(out / "scenes.json", header)
