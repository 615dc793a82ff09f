"""The package vision_msgs: installed, built of the definitions in tests/data/vision_msgs, or stand-ins of them."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.paths import ROOT, TESTS

SOURCE = TESTS / "data/vision_msgs"


def provide_vision_msgs(scratch: Path) -> None:
    """Make ``import vision_msgs`` work in this process and in those that it starts.

    Args:
        scratch: folder to build in, if the package is not installed.
    """
    if importlib.util.find_spec("vision_msgs") is not None:
        return
    prefix = Path(sys.prefix)
    if not (prefix / "share/rosidl_default_generators").is_dir():
        pytest.skip("vision_msgs is not installed, and there is no rosidl to build it")
    stage = scratch / "vision_msgs"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {
        "AMENT_PREFIX_PATH": str(prefix),
        "CMAKE_PREFIX_PATH": str(prefix),
        "LD_LIBRARY_PATH": f"{prefix}/lib",
        "PATH": f"{prefix}/bin:{os.environ['PATH']}",
    }
    configure = [
        *("cmake", "-S", SOURCE, "-B", scratch / "build", "-DBUILD_TESTING=OFF"),
        f"-DCMAKE_INSTALL_PREFIX={stage}",
        f"-DCMAKE_INSTALL_RPATH={stage}/lib",
        f"-DPython3_EXECUTABLE={sys.executable}",
        f"-DCMAKE_PROJECT_INCLUDE={ROOT}/cmake/drop_missing_includes.cmake",
    ]
    build = ["cmake", "--build", scratch / "build", "--target", "install", "-j", "2"]
    for command in (configure, build):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # the middleware opens these by name, and the loader reads LD_LIBRARY_PATH only when a process starts
    libraries = sorted(
        (stage / "lib").glob("lib*.so"), key=lambda path: "rosidl_generator" not in path.name
    )
    for library in libraries:
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    packages = str(next(stage.glob("lib/python3*/*-packages")))
    sys.path.append(packages)
    for name, place in (("PYTHONPATH", packages), ("LD_LIBRARY_PATH", f"{stage}/lib")):
        os.environ[name] = os.pathsep.join(filter(None, [os.environ.get(name, ""), place]))


def stand_in_messages() -> dict[str, Callable[..., Any]]:
    """Makers of messages with the fields of the definitions, in their order; nothing is built."""
    return {path.stem: functools.partial(_stand_in, path) for path in (SOURCE / "msg").iterdir()}


def _stand_in(definition: Path, **fields: Any) -> SimpleNamespace:
    lines = (line.partition("#")[0].split() for line in definition.read_text().splitlines())
    made = {name: _default(kind) for kind, name in filter(None, lines)}
    assert fields.keys() <= made.keys()
    return SimpleNamespace(**{**made, **fields})


def _default(kind: str) -> Any:
    package, _, name = kind.rpartition("/")
    if not package:
        return "" if kind == "string" else 0.0
    if kind.endswith("[]"):
        return []
    if package == "vision_msgs":
        return _stand_in(SOURCE / "msg" / f"{name}.msg")
    return getattr(importlib.import_module(f"{package}.msg"), name)()
