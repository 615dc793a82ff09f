"""Memory-mapped reader of a folder of rendered scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ovps_core.errors import DatasetError
from ovps_core.synthetic.settings import FORMAT, Scene

_HEADER = "scenes.json"


def is_rendered(folder: Path) -> bool:
    """True for a folder of rendered scenes, False for labelled photographs."""
    return (folder / _HEADER).is_file()


class RenderedScenes:
    """Sequence of the scenes in a folder that ``generate`` wrote; arrays are memory-mapped.

    Attributes:
        folder: the folder.
        object_parts: (object, part) names; pixel value i + 1 of a part map is ``object_parts[i]``.
        held_out_object_parts: object parts without labels in training.
        settings: the settings of the render, as in ``settings.RenderSettings``.
    """

    def __init__(self, folder: str | Path) -> None:
        """Read the folder's header and check that every shard is there.

        Raises:
            DatasetError: the folder holds no rendered scenes, or a shard is missing.
        """
        self.folder = Path(folder)
        header_path = self.folder / _HEADER
        if not header_path.is_file():
            raise DatasetError(
                f"{self.folder} holds no rendered scenes (no scenes.json). Make some with "
                f"`ovps render --level tabletop --count 1024 --out {self.folder}`."
            )
        header = json.loads(header_path.read_text())
        if header.get("format") != FORMAT:
            raise DatasetError(
                f"{header_path} has format {header.get('format')!r}; this version reads {FORMAT}. "
                "Render the set again."
            )
        self.settings: dict[str, Any] = header["settings"]
        self.object_parts = [(str(o), str(p)) for o, p in header["pairs"]]
        self.held_out_object_parts = [(str(o), str(p)) for o, p in header["held_out_pairs"]]
        self._per_shard = int(header["scenes_per_shard"])
        self._open: dict[int, dict[str, Any]] = {}
        n_shards = -(-len(self) // self._per_shard)
        for shard in range(n_shards):
            if not self._path(shard).is_dir():
                raise DatasetError(
                    f"{self._path(shard)} is missing: the render was interrupted. Run the same "
                    "`ovps render` command again; it continues where it stopped."
                )

    def __len__(self) -> int:
        """Return the number of scenes."""
        return int(self.settings["count"])

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard_{shard:05d}"

    def _shard(self, shard: int) -> dict[str, Any]:
        if shard not in self._open:
            path = self._path(shard)
            arrays: dict[str, Any] = {
                f.stem: np.load(f, mmap_mode="r") for f in sorted(path.glob("*.npy"))
            }
            arrays["records"] = json.loads((path / "scenes.json").read_text())
            self._open[shard] = arrays
        return self._open[shard]

    def arrays(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rgb uint8 [H, W, 3], parts uint8 [H, W] and objects uint8 [H, W] of a scene."""
        shard = self._shard(index // self._per_shard)
        i = index % self._per_shard
        return shard["rgb"][i], shard["parts"][i], shard["objects"][i]

    def __getitem__(self, index: int) -> Scene:
        """Return one scene; raise IndexError outside 0 to ``len(self) - 1``."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = self._shard(index // self._per_shard)
        i = index % self._per_shard
        record = shard["records"][i]
        return Scene(
            rgb=shard["rgb"][i],
            parts=shard["parts"][i],
            objects=shard["objects"][i],
            depth=shard["depth"][i] if "depth" in shard else None,
            intrinsics=np.array(record["intrinsics"]),
            camera_pose=np.array(record["camera_pose"]),
            instances=tuple((r["object"], np.array(r["pose"])) for r in record["instances"]),
        )


def scenes_in(shard: Path) -> int:
    """Number of scenes in a finished shard, 0 if it does not exist."""
    records = shard / "scenes.json"
    return len(json.loads(records.read_text())) if records.is_file() else 0
