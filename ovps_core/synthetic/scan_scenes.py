"""Rendered scenes of scanned and parametric objects on a table, seen by a robot's camera.

``python -m ovps_core.synthetic.scan_scenes --scans DIR --out DIR`` writes a folder that
``reader.RenderedScenes`` reads. The value 255 in its part maps marks unknown content.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ovps_core.errors import DatasetError, OvpsError
from ovps_core.synthetic.backdrops import Backdrops, replace_background
from ovps_core.synthetic.catalogue import classes_of
from ovps_core.synthetic.generate import save_shard, write_folder
from ovps_core.synthetic.label_maps import UNSURE, label_maps
from ovps_core.synthetic.layout import PlacedItem, arrange_on_table
from ovps_core.synthetic.lens import simulate_photograph
from ovps_core.synthetic.materials import table_textures
from ovps_core.synthetic.object_class import ObjectClass
from ovps_core.synthetic.object_pool import TABLE_HALF_SIZE, ObjectPool, build_object_pool
from ovps_core.synthetic.objects import clutter
from ovps_core.synthetic.objects.clutter import CLUTTER
from ovps_core.synthetic.scans import SCAN_OBJECT_PARTS, scan_classes
from ovps_core.synthetic.scene import assign_materials, populate_renderer, set_lights
from ovps_core.synthetic.settings import (
    SCENES_PER_SHARD,
    SPLITS,
    Scene,
    Split,
    require_render_extra,
)
from ovps_core.synthetic.viewpoint import SceneCamera, Viewpoint, fit_camera, sample_azimuth
from ovps_core.synthetic.wild import LARGE, cover

if TYPE_CHECKING:
    from ovps_core.synthetic.renderer import Renderer

SCAN_OBJECT_PART_ID = {object_part: i + 1 for i, object_part in enumerate(SCAN_OBJECT_PARTS)}
"""Pixel value of each object part in a part map."""

NEAR, FAR = 0.25, 1.1
"""Minimum and maximum distance of the camera from its target, metres."""

_STREAM = 7  # keeps these scenes' random numbers apart from those of ``settings.LEVELS``
_PAINTED_TABLES = len(table_textures(np.random.default_rng(0)))


@dataclass(frozen=True)
class ScanSettings:
    """All settings that decide a folder's pixels; resuming a folder requires equal ones.

    Attributes:
        scans: folder of scans; see ``scans.find_scans``.
        split: "train" shows training scans and parametric objects; "val" and "test" show the
            held-out scans only.
        count: number of scenes.
        seed: of all random numbers.
        size: side of the square pictures, pixels.
        surfaces: folder of textures; see ``backdrops.Backdrops``.
        photos: folder of photographs; see ``backdrops.Backdrops``.
        level: always "scans"; names the kind of scenes in the folder's header.

    Raises:
        DatasetError: a value is out of range.
    """

    scans: str
    split: Split = "train"
    count: int = 1024
    seed: int = 0
    size: int = 224
    surfaces: str = ""
    photos: str = ""
    level: str = field(default="scans", init=False)

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.split not in SPLITS:
            raise DatasetError(f"Scenes have the splits {SPLITS}; given {self.split!r}.")
        if self.count < 1 or not 32 <= self.size <= 1024:
            raise DatasetError(
                f"A render needs at least 1 scene of 32 to 1024 pixels a side; given {self.count} "
                f"of {self.size}."
            )

    def stream(self, shard: int, scene: int) -> np.random.Generator:
        """Return the random stream of one scene (from 1), or of the shard's object pool (0)."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), _STREAM, shard, scene])

    @property
    def backdrops(self) -> Backdrops:
        """The folders of background pictures."""
        return Backdrops(self.surfaces, self.photos)


def scan_object_pool(settings: ScanSettings, shard: int) -> tuple[ObjectPool, int]:
    """Build the objects of a shard, scans first; return them and the number of scans.

    Raises:
        DatasetError: a folder holds nothing usable, or no labelled scan is held out for this split.
    """
    rng = settings.stream(shard, 0)
    scans = _choose_scans(scan_classes(settings.scans, settings.split), rng, settings.split)
    parametric: list[ObjectClass] = []
    if settings.split == "train":
        small = [c for c in classes_of("wild") if c.size <= LARGE]
        parametric = [small[i] for i in rng.permutation(len(small))[:24]]
    elif all(c.name in (CLUTTER, UNSURE) for c in scans):
        raise DatasetError(
            f"{settings.scans!r} has no labelled scan for the split {settings.split!r}. Give some "
            'scans "split": "test" in parts.json.'
        )
    pool = build_object_pool(
        [*scans, *parametric, *clutter.classes()],
        rng,
        settings.split,
        settings.size,
        settings.size,
        table_pictures=settings.backdrops.table_tops(6, rng),
    )
    return pool, len(scans)


def _choose_scans(
    classes: Sequence[ObjectClass], rng: np.random.Generator, split: Split
) -> list[ObjectClass]:
    """Draw the scans of a pool; in training one of each object and four more, beside clutter."""
    shuffled = [classes[i] for i in rng.permutation(len(classes))]
    named = [c for c in shuffled if c.name not in (CLUTTER, UNSURE)]
    unlabelled = [c for c in shuffled if c.name == CLUTTER][:9]
    unsure = [c for c in shuffled if c.name == UNSURE][:3]
    if split == "train":
        one_each = list({c.name: c for c in named}.values())
        named = one_each + [c for c in named if c not in one_each][:4]
    return [*named, *unlabelled, *unsure]


def compose_scan_scene(
    pool: ObjectPool, scan_count: int, rng: np.random.Generator
) -> tuple[list[PlacedItem], SceneCamera]:
    """Set up one scene in the pool's model.

    Args:
        pool: the objects.
        scan_count: number of scans, which are the first items of the pool.
        rng: draws the scene.

    Returns:
        The objects and the camera.
    """
    known = [i for i, item in enumerate(pool.items) if item.object_name not in (CLUTTER, UNSURE)]
    filler = [item for item in pool.items if item.object_name == CLUTTER]
    unsure = [item for item in pool.items if item.object_name == UNSURE]
    weight = np.array([3.0 if i < scan_count else 1.0 for i in known])
    count = min(1 + int(rng.geometric(0.32)), 8, len(known))
    drawn = rng.choice(known, count, replace=False, p=weight / weight.sum())
    chosen = [pool.items[i] for i in drawn]
    if unsure and rng.random() < 0.25:
        chosen.append(unsure[int(rng.integers(len(unsure)))])
    placed = arrange_on_table(chosen, rng)
    camera = _sample_camera(placed, rng)
    extra = [filler[i] for i in rng.permutation(len(filler))[: int(rng.integers(0, 6))]]
    placed = arrange_on_table(extra, rng, placed)
    table_size = np.array(TABLE_HALF_SIZE) * rng.uniform(0.45, 1.1, 2)
    pool.model.geom_size[pool.table_geom, :2] = table_size
    assign_materials(pool, placed, rng)
    _assign_table_pictures(pool, rng)
    populate_renderer(pool, placed, camera)
    set_lights(pool, rng)
    _vary_lights(pool, rng)
    return placed, camera


def _sample_camera(placed: Sequence[PlacedItem], rng: np.random.Generator) -> SceneCamera:
    """Draw a camera whose targets fill between a fifth of the picture and all of it."""
    keep = rng.permutation(len(placed))[: int(rng.integers(1, len(placed) + 1))]
    roll = rng.normal(0, 0.1) if rng.random() < 0.85 else rng.uniform(-np.pi, np.pi)
    # The order of the draws is part of a seed's pixels.
    view = Viewpoint(
        margin=float(np.exp(rng.uniform(np.log(0.8), np.log(4.5)))),
        azimuth=sample_azimuth(placed, rng),
        elevation=np.radians(rng.triangular(8, 40, 88)),
        fovy=rng.uniform(22, 64),
        roll=roll,
        shift=rng.uniform(-0.2, 0.2, 2),
        near=NEAR,
        far=FAR,
    )
    return fit_camera(np.vstack([placed[i].points for i in keep]), view)


def _assign_table_pictures(pool: ObjectPool, rng: np.random.Generator) -> None:
    """Give table and floor the texture of a surface, each in 65% of the scenes."""
    pictures = pool.tables[_PAINTED_TABLES:]
    for geom in (pool.table_geom, pool.floor_geom):
        if pictures and rng.random() < 0.65:
            pool.model.geom_matid[geom] = pictures[int(rng.integers(len(pictures)))]
            pool.model.geom_rgba[geom] = [*rng.uniform(0.85, 1.0, 3), 1.0]


def _vary_lights(pool: ObjectPool, rng: np.random.Generator) -> None:
    tint = rng.uniform(0.85, 1.1, 3) if rng.random() < 0.3 else np.ones(3)
    for i in range(3):
        pool.model.light_diffuse[i] *= rng.uniform(0.5, 1.5) * tint
        pool.model.light_ambient[i] *= rng.uniform(0.7, 1.3)


def _render_scene(
    settings: ScanSettings,
    pool: ObjectPool,
    scan_count: int,
    renderer: Renderer,
    rng: np.random.Generator,
) -> Scene:
    placed, camera = compose_scan_scene(pool, scan_count, rng)
    renderer.update()
    rgb, geoms = renderer.rgb(), renderer.geom_ids()
    parts, objects, instances = label_maps(pool, placed, geoms, SCAN_OBJECT_PART_ID)
    is_background = (geoms < 0) | (geoms == pool.floor_geom)
    if rng.random() < 0.25:
        is_background |= geoms == pool.table_geom
    if rng.random() < 0.6:
        rgb, parts = replace_background(rgb, parts, is_background, settings.backdrops, rng)
    if rng.random() < 0.2:
        rgb, parts, objects = cover(
            rgb, parts, objects, settings.surfaces, rng, may_show_objects=False
        )
    return Scene(
        rgb=simulate_photograph(rgb, rng),
        parts=parts,
        objects=objects,
        depth=None,
        intrinsics=camera.intrinsics(settings.size, settings.size),
        camera_pose=camera.pose,
        instances=tuple(instances),
    )


def render_scan_shard(settings: ScanSettings, shard: int) -> list[Scene]:
    """Render all scenes of one shard; the same settings and shard give the same pixels.

    Raises:
        BackendError: off-screen OpenGL cannot start here.
        DatasetError: a folder holds nothing usable.
    """
    from ovps_core.synthetic.renderer import Renderer

    pool, scan_count = scan_object_pool(settings, shard)
    renderer = Renderer(pool, settings.size, settings.size)
    count = min(SCENES_PER_SHARD, settings.count - shard * SCENES_PER_SHARD)
    try:
        streams = (settings.stream(shard, 1 + i) for i in range(count))
        return [_render_scene(settings, pool, scan_count, renderer, rng) for rng in streams]
    finally:
        renderer.close()


def _write_shard(task: tuple[ScanSettings, str, int]) -> int:
    settings, out, shard = task
    return save_shard(out, shard, render_scan_shard(settings, shard))


def generate_scan_scenes(out: Path, settings: ScanSettings, workers: int = 1) -> None:
    """Render a folder of scenes; a second call continues an interrupted run.

    Raises:
        BackendError: off-screen OpenGL cannot start here.
        DatasetError: the folder holds scenes of other settings, or an input folder nothing usable.
    """
    write_folder(out, settings, SCAN_OBJECT_PARTS, _write_shard, workers)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ovps_core.synthetic.scan_scenes",
        description="Render scenes of textured scans with exact part masks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--scans", required=True, help="folder of scans")
    parser.add_argument("--out", type=Path, required=True, help="folder to write or continue")
    parser.add_argument("--split", choices=SPLITS, default="train", help="which scans to show")
    parser.add_argument("--count", type=int, default=1024, help="number of scenes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures, pixels")
    parser.add_argument("--surfaces", default="", help="folder of textures without any object")
    parser.add_argument("--photos", default="", help="folder of photographs for the background")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    values = vars(parser.parse_args(argv))
    out, workers = values.pop("out"), values.pop("workers")
    try:
        require_render_extra()
        settings = ScanSettings(**values)
        generate_scan_scenes(out, settings, workers)
    except OvpsError as error:
        print(f"scan_scenes: {error}", file=sys.stderr)
        return 1
    print(f"{settings.count} scenes in {out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
