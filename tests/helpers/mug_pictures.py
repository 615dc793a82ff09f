"""Four pictures of a mug as a COCO file, and a recipe that learns them in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

SIZE = 64
SMALL = {
    "type": "partclipseg",
    "model": {
        "clip": {
            "embed_dim": 32,
            "vision_cfg": {
                "layers": 3,
                "width": 96,
                "head_width": 32,
                "patch_size": 8,
                "image_size": SIZE,
            },
            "text_cfg": {
                "context_length": 8,
                "vocab_size": 49408,
                "width": 32,
                "heads": 2,
                "layers": 1,
            },
        },
        "pretrained": "",
        "image_size": SIZE,
        "out_indices": [0, 1, 2],
        "dim": 32,
        "heads": 2,
        "mlp_dim": 64,
        "train_towers": True,
    },
    "data": {"object": "mug", "flip": 0, "min_crop": 1, "colour_jitter": 0, "workers": 0},
    "optim": {
        "steps": 120,
        "batch": 4,
        "lr": 2.0e-3,
        "weight_decay": 0,
        "warmup": 10,
        "precision": "32-true",
        "score_every": 0,
    },
    "losses": {"enhancement": 2.0},
    "score_on": "train",
}


@pytest.fixture
def mugs(tmp_path: Path) -> Path:
    """Four pictures of a blue body with a red handle, on its left or right, as a COCO file."""
    generator = np.random.default_rng(0)
    images, annotations = [], []
    (tmp_path / "train").mkdir()
    for number in range(4):
        picture = generator.integers(90, 140, (SIZE, SIZE, 3), dtype=np.uint8)
        left, top = 18 + 3 * number, 14 + 2 * number
        handle = left - 10 if number % 2 else left + 20
        for category, x, y, width, height, colour in (
            (2, left, top, 20, 30, (200, 60, 30)),
            (3, handle, top + 8, 10, 14, (30, 40, 220)),
        ):
            picture[y : y + height, x : x + width] = colour
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            entry = {"image_id": number, "category_id": category, "segmentation": [corners]}
            annotations.append({"id": len(annotations), **entry})
        name = f"mug{number}.png"
        cv2.imwrite(str(tmp_path / "train" / name), picture)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
    names = ["_background_", "body", "round_handle"]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "train.json").write_text(json.dumps(content))
    return tmp_path / "train.json"


def recipe_file(folder: Path, **changes: dict[str, object]) -> Path:
    content = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value
        for key, value in SMALL.items()
    }
    path = folder / "mugs.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
