"""Program that runs another module with the packages of a plain install only, as on a robot: without PyTorch.

Usage: ``python without_pytorch.py MODULE ARGUMENT...``.
"""

from __future__ import annotations

import runpy
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

HIDDEN = {
    *("torch", "torchvision", "timm", "open_clip", "huggingface_hub", "onnx", "onnxscript"),
    *(
        "trimesh",
        "manifold3d",
        "mujoco",
        "lightning",
        "matplotlib",
        "webdataset",
        "torchmetrics",
        "nncf",
    ),
    *("transformers", "psutil", "rosbags", "networkx", "pandas", "sklearn"),
}


class Without:
    """Finder of modules that finds none of the hidden packages.

    Args:
        finder: finds the others.
    """

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        if name.partition(".")[0] in HIDDEN:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


if __name__ == "__main__":
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
