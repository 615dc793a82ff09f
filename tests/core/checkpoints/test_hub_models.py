"""Models of the hub that transformers runs: found in the hub's cache by name, or refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.tiny_sam3 import processor, tiny_model, write_hub_cache
from PIL import Image

from ovps_core.checkpoints.hub import cached_folder
from ovps_core.datasets.segmentations import decode_segmentation
from ovps_core.pipeline.postprocess.components import SegmentOptions


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub cache with small models under the names of the released ones."""
    cache = tmp_path_factory.mktemp("hub")
    write_hub_cache("sam3", cache, "facebook/sam3")
    write_hub_cache("sam3_lite_text", cache, "somebody/own-sam3")
    return cache


@pytest.fixture
def gated_hub() -> Iterator[str]:
    """Address of a hub that grants access to nothing."""

    class Gate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", "Access to this model is restricted.")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ovps(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ovps_core", *words],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ["sam3", "somebody/own-sam3"])
def test_ovps_segment_answers_with_the_masks_of_transformers(
    name: str, cache: Path, tmp_path: Path
) -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    words = ["segment", str(tmp_path / "photo.png"), "knife handle", "--model", name, "--json"]
    done = ovps(
        *words,
        "--min-area",
        "1",
        HF_HUB_CACHE=str(cache),
        HF_HUB_OFFLINE="1",
    )
    assert done.returncode == 0 and not done.stderr
    answer = json.loads(done.stdout)
    assert answer["model"].startswith(f"{name} (sha256 ")
    kind = "sam3" if name == "sam3" else "sam3_lite_text"
    inputs = processor()(images=rgb, text="knife handle", return_tensors="pt")
    del inputs["original_sizes"]
    (expected,) = processor().post_process_instance_segmentation(
        tiny_model(kind)(**inputs), threshold=0.5, target_sizes=[(32, 32)]
    )
    union = expected["masks"].any(0).numpy()
    count, labels = cv2.connectedComponents(union.astype(np.uint8), connectivity=8)
    components = {(labels == label).tobytes() for label in range(1, count)}
    masks = [decode_segmentation(part["segmentation"], 32, 32, "") for part in answer["parts"]]
    assert len(masks) == min(count - 1, SegmentOptions().max_parts) > 0
    assert {mask.tobytes() for mask in masks} <= components


def test_ovps_models_lists_what_is_in_the_hubs_cache(cache: Path) -> None:
    done = ovps("models", "--paths", HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE="1")
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("sam3 "))
    assert "1 MB" in row and "SAM License" in row and str(cache) in row
    assert "facebook/sam3 on first use" in ovps("models", HF_HUB_CACHE=str(cache / "none")).stdout


def test_gated_weights_are_one_line_that_says_how_to_get_access(
    gated_hub: str, tmp_path: Path
) -> None:
    done = ovps(
        "segment",
        "docs/images/table.jpg",
        "mug",
        "--model",
        "sam3",
        HF_ENDPOINT=gated_hub,
        HF_HUB_CACHE=str(tmp_path),
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "huggingface.co/facebook/sam3 is gated" in done.stderr
    assert "hf auth login" in done.stderr and "HF_TOKEN" in done.stderr


def test_without_a_network_the_line_says_so(tmp_path: Path) -> None:
    done = ovps(
        "segment",
        "docs/images/table.jpg",
        "mug",
        "--model",
        "sam3",
        HF_HUB_CACHE=str(tmp_path),
        HF_HUB_OFFLINE="1",
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "it needs a network once" in done.stderr


def test_without_transformers_the_line_that_installs_it_comes_first(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['transformers'] = None; from ovps_core.cli import main; "
        "sys.exit(main(['segment', 'docs/images/table.jpg', 'mug', '--model', 'sam3']))"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert 'transformers is not installed: pip install "ovps[transformers]"' in done.stderr


def test_an_interrupted_download_is_not_taken_for_the_model(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    folder = write_hub_cache("sam3", tmp_path, "facebook/sam3")
    assert cached_folder("facebook/sam3") == folder
    (folder / "model.safetensors").unlink()
    assert cached_folder("facebook/sam3") is None
