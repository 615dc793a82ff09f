"""The table of layers has the order that import-linter checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.paths import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or newer")
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_the_table_has_the_order_of_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers: list[str] = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = iter(re.findall(r"^\| `ovps_core/(\w+)(?:/|\.py)` \|", PAGE, re.M))
    for layer in layers:
        together = set(layer.split(" | "))
        assert {next(rows) for _ in together} == together
    assert not list(rows)


def test_every_file_of_the_library_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| `(ovps_core/\w+(?:\.py)?)/?` \|", PAGE, re.M))
    files = [path.relative_to(ROOT) for path in (ROOT / "ovps_core").rglob("*.py")]
    outside = {Path(*file.parts[:2]) for file in files} - {Path(row) for row in rows}
    assert {path.name for path in outside} <= {"__init__.py", "__main__.py"}
