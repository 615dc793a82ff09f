"""Docstrings refer to names that exist."""

from __future__ import annotations

import re
from pkgutil import resolve_name

from helpers.paths import ROOT

REFERENCE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?((?:ovps_core|training)\.[\w.]+)`")


def defines(name: str) -> bool:
    try:
        resolve_name(name)
    except AttributeError:  # fields of a dataclass without a default are annotations only
        owner, _, field = name.rpartition(".")
        return field in getattr(resolve_name(owner), "__annotations__", {})
    return True


def test_full_paths_in_docstrings_exist() -> None:
    folders = ("ovps_core", "training")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {(name, path) for path in paths for name in REFERENCE.findall(path.read_text("utf-8"))}
    assert len(found) > 20
    assert not [f"{path}: {name}" for name, path in sorted(found) if not defines(name)]
