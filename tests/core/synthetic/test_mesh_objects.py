"""Objects from mesh files: a folder of parts is an object in rendered scenes, without a line of Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovps_core.cli import main
from ovps_core.errors import BackendError, DatasetError
from ovps_core.synthetic.catalogue import object_parts_of
from ovps_core.synthetic.reader import RenderedScenes

pytest.importorskip("mujoco")
pytest.importorskip("trimesh")
import trimesh

from ovps_core.synthetic.mesh_folder import mesh_classes, mesh_object_parts
from ovps_core.synthetic.renderer import OFFSCREEN_CONTEXTS


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """A valve of a wheel and a stem, in millimetres as most mechanical drawings are."""
    folder = tmp_path / "meshes"
    (folder / "gate_valve").mkdir(parents=True)
    wheel = trimesh.creation.torus(major_radius=60, minor_radius=12)
    wheel.apply_translation([0, 0, 120])
    stem = trimesh.creation.cylinder(radius=15, height=120)
    stem.apply_translation([0, 0, 60])
    wheel.export(folder / "gate_valve" / "hand_wheel.stl")
    stem.export(folder / "gate_valve" / "stem.stl")
    return folder


def test_names_of_files_are_names_of_parts(meshes: Path, tmp_path: Path) -> None:
    assert mesh_object_parts(str(meshes)) == [("gate valve", "hand wheel"), ("gate valve", "stem")]
    with pytest.raises(DatasetError, match="holds no meshes; expected a subfolder for each object"):
        mesh_object_parts(str(tmp_path / "meshes" / "gate_valve"))


def test_a_wrong_unit_is_said(meshes: Path) -> None:
    with pytest.raises(DatasetError, match=r"144 m long.*--mesh-units mm"):
        mesh_classes(str(meshes), "m")
    (valve,) = mesh_classes(str(meshes), "mm")
    assert valve.size == pytest.approx(0.144)


def test_a_file_that_is_no_mesh_is_named(meshes: Path) -> None:
    (meshes / "gate_valve" / "stem.stl").write_bytes(b"solid nothing")
    with pytest.raises(DatasetError, match=r"stem\.stl"):
        mesh_classes(str(meshes), "mm")


@pytest.mark.slow
def test_scenes_show_the_objects_of_a_folder_beside_the_known_ones(
    meshes: Path, tmp_path: Path
) -> None:
    try:
        OFFSCREEN_CONTEXTS.get(64, 64)
    except BackendError as error:
        pytest.skip(str(error))
    out = tmp_path / "scenes"
    command = ["render", "--level", "wild", "--count", "24", "--size", "96", "--out", str(out)]
    sheet = tmp_path / "sheet.png"
    command += ["--meshes", str(meshes), "--mesh-units", "mm", "--sheet", str(sheet)]
    assert main(command) == 0
    assert sheet.is_file(), "its legend names the new parts too"
    scenes = RenderedScenes(out)
    assert scenes.object_parts[:-2] == object_parts_of("wild"), "known ones keep their values"
    shown = np.unique([scenes.arrays(i)[1] for i in range(len(scenes))])
    values = [
        scenes.object_parts.index(("gate valve", part)) + 1 for part in ("hand wheel", "stem")
    ]
    assert set(values) <= set(shown.tolist())
    assert any(0 < value < min(values) for value in shown), "known objects are there too"
