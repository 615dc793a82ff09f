"""The table of rooms has the order of the layers that import-linter checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.paths import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or newer")
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_rooms_stand_in_the_order_of_the_layers() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers: list[str] = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = iter(re.findall(r"^\| `ovps_core/(\w+)(?:/|\.py)` \|", PAGE, re.M))
    for layer in layers:
        together = set(layer.split(" | "))
        assert {next(rooms) for _ in together} == together
    assert not list(rooms)


def test_every_file_of_the_library_is_in_a_room() -> None:
    rooms = set(re.findall(r"^\| `(ovps_core/\w+(?:\.py)?)/?` \|", PAGE, re.M))
    files = [path.relative_to(ROOT) for path in (ROOT / "ovps_core").rglob("*.py")]
    outside = {Path(*file.parts[:2]) for file in files} - {Path(room) for room in rooms}
    assert {path.name for path in outside} <= {"__init__.py", "__main__.py"}
