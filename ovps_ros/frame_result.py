"""Results of one frame, as the pipeline hands them to publishers and to the action."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.part3d import Part3D
from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class FrameResult3D:
    """Parts of one frame in 3D.

    Attributes:
        header: the image's stamp, and the frame of the parts' poses.
        depth_m: depth in metres, float32 [H, W], NaN where nothing was measured.
        camera: intrinsics of the colour image.
        parts: those with enough depth.
    """

    header: Header
    depth_m: NDArray[np.float32] = field(repr=False)
    camera: CameraIntrinsics
    parts: tuple[Part3D, ...]


@dataclass(frozen=True)
class FrameResult:
    """Result of one frame.

    Attributes:
        camera: name of the camera; "" if there is only one.
        header: the image's own header.
        rgb: uint8 [H, W, 3].
        masks: parts found in the image.
        in_3d: parts in 3D; None without depth for this image.
        arrived_at: time of the image's arrival on the monotonic clock, seconds.
        undecided: queries whose parts are left out, since they choose by depth and there is none.
        model_s: time that the model took, seconds; frames of several cameras share one pass.
    """

    camera: str
    header: Header
    rgb: RgbImage = field(repr=False)
    masks: PartMasks
    in_3d: FrameResult3D | None = None
    arrived_at: float = field(default_factory=time.monotonic)
    undecided: tuple[PartQuery, ...] = ()
    model_s: float = 0.0
