"""Poses of elongated handles on simulated depth, given their true masks: 10 mm and 10 degrees (median)."""

from __future__ import annotations

import numpy as np
import pytest
from tabulate import tabulate
from test_geometry import as_part

from ovps_core.geometry import CameraModel, part_3d

pytest.importorskip("mujoco")

SCENES = 100
TOOLS = ("knife", "fork", "spoon", "spatula", "pan", "hammer", "screwdriver", "ladle")
ELONGATED = 2.5  # longest extent over the second
FEWEST_PIXELS = 200


def true_box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(middle, long axis, extents) of surface points [N, 3]."""
    centre = points.mean(0)
    axes = np.linalg.svd(points - centre, full_matrices=False)[2].T
    local = (points - centre) @ axes
    low, high = local.min(0), local.max(0)
    return centre + axes @ ((low + high) / 2), axes[:, 0], high - low


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_elongated_handles() -> None:
    from ovps_core.data.rendered.live import LiveScene

    rows = []
    for seed in range(SCENES):
        rng = np.random.default_rng(seed)
        objects = list(rng.choice(TOOLS, 3, replace=False))
        scene = LiveScene(objects, seed=seed)
        try:
            frame = scene.frame(float(rng.uniform(0, 20)))
            camera = CameraModel.from_matrix(frame.intrinsics, 640, 480)
            for object in objects:
                mask = frame.masks.get((object, "handle"))
                if mask is None or np.count_nonzero(mask) < FEWEST_PIXELS:
                    continue
                points = scene.part_points(object, "handle")
                world_to_camera = np.linalg.inv(frame.camera_pose)
                middle, axis, size = true_box(
                    points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
                )
                if size[0] < ELONGATED * size[1]:
                    continue
                part = part_3d(as_part(mask), frame.depth, camera)
                assert part is not None
                cosine = min(1.0, abs(float(axis @ part.pose[:3, 0])))
                millimetres = 1000 * float(np.linalg.norm(part.position - middle))
                rows.append((object, millimetres, float(np.degrees(np.arccos(cosine)))))
        finally:
            scene.close()
    table = []
    for object in (*TOOLS, "all"):
        values = np.array([row[1:] for row in rows if object in (row[0], "all")])
        if len(values):
            table.append(
                (object, len(values), *np.median(values, 0), *np.quantile(values, 0.9, axis=0))
            )
    heads = ("handle of", "handles", "mm", "degrees", "mm, 90 %", "degrees, 90 %")
    print("\n" + tabulate(table, heads, floatfmt=".1f"))
    assert len(rows) >= 100
    millimetres, degrees = np.median([row[1:] for row in rows], axis=0)
    assert millimetres < 10 and degrees < 10
