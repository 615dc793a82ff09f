"""The built wheel, alone in a new environment without a network, segments a rendered picture."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovps_core.checkpoints.registry import DEFAULT_MODEL, known_models
from ovps_core.errors import BackendError
from ovps_core.structures.masks import mask_iou

ROOT = Path(__file__).resolve().parents[1]
HEAVY = Path(sysconfig.get_paths()["purelib"])  # torch, OpenCV and the rest come from here
WEIGHTS = next(model.path for model in known_models() if model.name == DEFAULT_MODEL)
NO_NETWORK = """\
import socket

def refuse(*_):
    raise OSError("this test has no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"{WEIGHTS} is not there: no packaged model"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A new environment with the wheel of this checkout; only its dependencies are seen outside it."""
    folder = tmp_path_factory.mktemp("wheel")
    tree, tools = folder / "tree", folder / "tools"
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("ovps_core", "ovps_ros"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    tools.mkdir()  # setuptools without its neighbours: ROS messages are another test's
    for name in ("setuptools", "pkg_resources", "_distutils_hack"):
        if (HEAVY / name).is_dir():
            (tools / name).symlink_to(HEAVY / name)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    hidden = {name: text for name, text in os.environ.items() if name != "AMENT_PREFIX_PATH"}
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", tree, "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run(build, check=True, env={**hidden, "PYTHONPATH": str(tools)})
    wheel = next(folder.glob("ovps-*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (site / "heavy.pth").write_text(f"{HEAVY}\n")
    (site / "sitecustomize.py").write_text(NO_NETWORK)
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> tuple[Path, tuple[str, str], np.ndarray]:
    """(file, (object, part), truth bool [H, W]): the largest part of a few test scenes."""
    pytest.importorskip("mujoco")
    pytest.importorskip("trimesh")
    from ovps_core.synthetic.generate import generate
    from ovps_core.synthetic.reader import RenderedScenes
    from ovps_core.synthetic.settings import RenderSettings

    folder = tmp_path_factory.mktemp("scenes")
    try:
        scenes = RenderedScenes(generate(folder, RenderSettings(split="test", count=8, seed=1)))
    except BackendError as error:
        pytest.skip(str(error))
    areas = [np.bincount(scenes.arrays(i)[1].ravel(), minlength=256)[1:] for i in range(8)]
    index, value = np.unravel_index(np.argmax(areas), (8, 255))
    rgb, parts, _ = scenes.arrays(int(index))
    cv2.imwrite(str(folder / "picture.png"), np.array(rgb)[..., ::-1])
    return folder / "picture.png", scenes.object_parts[int(value)], np.array(parts) == value + 1


def test_the_package_under_test_is_the_installed_one(environment, tmp_path):
    script = "import ovps_core, torch; print(ovps_core.__file__, torch.__file__)"
    said = subprocess.run(
        [environment / "python", "-c", script], capture_output=True, text=True, cwd=tmp_path
    ).stdout.split()
    assert said[0].startswith(str(environment.parent)), "ovps_core comes from elsewhere"
    assert said[1].startswith(str(HEAVY))


def test_segments_a_rendered_picture_without_a_network(environment, picture, tmp_path):
    file, (name, part), truth = picture
    command = [environment / "ovps", "segment", file, f"{part} of the {name}", "--masks", tmp_path]
    away = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=away)
    assert done.returncode == 0, done.stderr
    masks = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in tmp_path.glob("*.png")]
    assert masks, f"{name} {part} was not found:\n{done.stdout}"
    assert mask_iou(np.any(masks, axis=0), truth) > 0.5
