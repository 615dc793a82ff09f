"""Camera of a picture and its pose, as an entry of ``images`` in ``annotations.json``.

The key ``camera`` of the entry holds:

``matrix``
    camera matrix of the picture as it is, 9 numbers row by row, pixels.
``pose``
    camera's optical frame (x right, y down, z forward) to a frame in which the scene stands still, 16 numbers row
    by row, metres.
``distortion_model``, ``distortion``
    of the lens; absent for a picture that has none.

The key ``depth_file`` names the picture of depth along the optical axis: 16 bits, millimetres, 0 is "not
measured".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import CameraInfoError, DatasetError
from ovps_core.structures.camera import CameraIntrinsics, Distortion
from ovps_core.structures.image_files import load_labels

CAMERA, DEPTH_FILE = "camera", "depth_file"


@dataclass(frozen=True)
class PosedCamera:
    """Camera of a picture and its pose.

    Attributes:
        intrinsics: camera of the picture as it is.
        pose: float64 [4, 4], optical frame to a frame in which the scene stands still, metres.
    """

    intrinsics: CameraIntrinsics
    pose: NDArray[np.float64]

    def entry(self) -> dict[str, Any]:
        """Value of the key :data:`CAMERA`."""
        found: dict[str, Any] = {
            "matrix": self.intrinsics.matrix.ravel().tolist(),
            "pose": self.pose.ravel().tolist(),
        }
        if self.intrinsics.distortion is not None:
            found["distortion_model"] = self.intrinsics.distortion.model
            found["distortion"] = list(self.intrinsics.distortion.coefficients)
        return found

    @classmethod
    def read(cls, entry: Mapping[str, Any], height: int, width: int, place: str) -> PosedCamera:
        """From the value of the key :data:`CAMERA`.

        Args:
            entry: what :meth:`entry` returned.
            height, width: of the picture, pixels.
            place: file and picture, for the message of an error.

        Raises:
            DatasetError: it has not these numbers, or they are no camera or no pose.
        """
        try:
            camera = CameraIntrinsics.from_matrix(entry["matrix"], width, height)
            if "distortion" in entry:
                lens = Distortion(entry["distortion_model"], tuple(map(float, entry["distortion"])))
                camera = replace(camera, distortion=lens)
            pose = np.array(entry["pose"], np.float64).reshape(4, 4)
            if not np.isfinite(pose).all() or not np.allclose(
                pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-3
            ):
                raise ValueError("the pose has no rotation")
        except (CameraInfoError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{place}: its {CAMERA!r} cannot be used ({error!r}); expected a matrix of 9 and a pose of 16 "
                "numbers, row by row, as `ovps bag extract --fixed-frame` writes them"
            ) from error
        return cls(camera, pose)


def load_depth(path: Path, height: int, width: int) -> NDArray[np.float32]:
    """Depth of a picture of :data:`DEPTH_FILE`, metres, float32 [H, W]; 0 is "not measured".

    Raises:
        DatasetError: the picture is of another size.
        ImageError: it cannot be read, or has colours.
    """
    millimetres = load_labels(path)
    if millimetres.shape != (height, width):
        raise DatasetError(
            f"{path} is of {millimetres.shape[1]}x{millimetres.shape[0]} pixels; expected those of its picture, "
            f"{width}x{height}"
        )
    return np.asarray(millimetres / 1000, np.float32)
