"""A folder of rendered scenes without a renderer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ovps_core.synthetic.settings import FORMAT

HEIGHT, WIDTH = 48, 64


def write_scenes(
    folder: Path, object_parts: Sequence[tuple[str, str]], count: int, seed: int = 0
) -> Path:
    """Write scenes in which the object part i is a box of its own place; the first scene is empty."""
    random = np.random.default_rng(seed)
    shard = folder / "shard_00000"
    shard.mkdir(parents=True)
    rgb = random.integers(0, 255, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    parts = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    for scene in range(1, count):
        value = 1 + (scene - 1) % len(object_parts)
        parts[scene, 8:32, 8:40] = value
        rgb[scene, 8:32, 8:40] = 40 * value
    for name, array in (("rgb", rgb), ("parts", parts), ("objects", (parts > 0).astype(np.uint8))):
        np.save(shard / f"{name}.npy", array)
    (shard / "scenes.json").write_text("[]")
    header = {
        "format": FORMAT,
        "settings": {"count": count},
        "pairs": list(object_parts),
        "held_out_pairs": [],
        "scenes_per_shard": count,
    }
    (folder / "scenes.json").write_text(json.dumps(header))
    return folder
