"""The real Label Studio, and frames with masks of a model, for the tests of labelling."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.labelled_frames import HEIGHT, WIDTH, box

from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.errors import UsageError
from ovps_core.labelling.server import find_server


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data folder of the real Label Studio, which `ovps label serve` started."""
    pytest.importorskip("label_studio", reason="Label Studio is not installed (extra `label`)")
    folder = tmp_path_factory.mktemp("label-studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["label", "serve", "--port", str(port), "--data-dir", str(folder)]
    with (folder / "log.txt").open("wb") as log:
        command = [sys.executable, "-m", "ovps_core", *words]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_up(folder, process)
        yield folder
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_until_up(folder: Path, process: subprocess.Popen[bytes]) -> None:
    import requests

    for _ in range(540):
        time.sleep(1)
        assert process.poll() is None, (folder / "log.txt").read_text()[-2000:]
        try:
            server = find_server(None, None, folder)
            if requests.get(f"{server.url}/health", timeout=2).ok:
                return
        except (requests.RequestException, UsageError):
            continue
    pytest.fail(
        "Label Studio did not start within 540 s: " + (folder / "log.txt").read_text()[-2000:]
    )


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Three extracted frames with masks of a model."""
    folder = tmp_path / "frames"
    folder.mkdir()
    coco: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": 1, "name": "valve wheel", "object": "valve", "part": "wheel"},
            {"id": 2, "name": "valve stem", "object": "valve", "part": "stem"},
        ],
    }
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((HEIGHT, WIDTH, 3), 60 * i, np.uint8))
        coco["images"].append({"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH})
        for category, mask in ((1, box(10, 5, 40, 25)), (2, box(22, 25, 28, 45))):
            coco["annotations"].append(
                {
                    "id": 2 * i + category,
                    "image_id": i,
                    "category_id": category,
                    "segmentation": encode_segmentation(mask),
                    "score": 0.5,
                    "track_id": category,
                    "pseudo_label": True,
                }
            )
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder
