"""Conversion of colour images by the ROS installation's own cv_bridge, where it works.

cv_bridge is compiled for one version of NumPy and reads the type codes of OpenCV 4. Beside another NumPy it does
not raise: the process ends with a segmentation fault. A process of its own therefore tries it first.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Convert = Callable[[NDArray[Any], str], "NDArray[Any] | None"]
"""Converts samples [H, W] or [H, W, C] of an encoding to RGB [H, W, 3]; None for an encoding that it lacks."""

_TRIAL_SECONDS = 60.0
_TRIAL = "import ovps_core.ros_io.bridge as bridge; bridge.try_conversion()"


@dataclass(frozen=True)
class Bridge:
    """State of cv_bridge in this process.

    Attributes:
        convert: converts with cv_bridge; None where it is not installed or does not work.
        problem: reason why an installed cv_bridge is not used; empty otherwise.
    """

    convert: Convert | None = None
    problem: str = ""


@functools.cache
def find_bridge() -> Bridge:
    """Try cv_bridge once in each process; costs a start of Python where it is installed."""
    if importlib.util.find_spec("cv_bridge") is None:
        return Bridge()
    problem = _problem()
    if problem:
        advice = 'keep NumPy below 2 and OpenCV below 5, such as with pip install "numpy<2"'
        return Bridge(problem=f"cv_bridge is installed but {problem}; {advice}")
    return Bridge(_converter())


def try_conversion() -> None:
    """Convert one image and compare it; :func:`find_bridge` runs this in a process of its own.

    Raises:
        ValueError: the result is wrong.
    """
    blue_green_red = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    result = _converter()(blue_green_red, "bgr8")
    if result is None or not np.array_equal(result, blue_green_red[..., ::-1]):
        raise ValueError("bgr8 became other values")


def _problem() -> str:
    """Failure of a conversion in another process; empty if it succeeds."""
    search_path = os.pathsep.join(filter(None, sys.path))
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            env={**os.environ, "PYTHONPATH": search_path},
            capture_output=True,
            text=True,
            timeout=_TRIAL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"could not be tried ({error})"
    if trial.returncode == 0:
        return ""
    if trial.returncode < 0:
        return f"crashes beside NumPy {np.__version__} (signal {-trial.returncode})"
    lines = trial.stderr.strip().splitlines()
    return f"fails beside NumPy {np.__version__} ({lines[-1] if lines else 'without a message'})"


def _converter() -> Convert:
    from cv_bridge import CvBridge, CvBridgeError

    bridge = CvBridge()

    def convert(samples: NDArray[Any], encoding: str) -> NDArray[Any] | None:
        height, width = samples.shape[:2]
        message = SimpleNamespace(  # its releases differ in padding and byte order, so both are gone already
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=int(sys.byteorder == "big"),
            step=samples.nbytes // height,
            data=np.ascontiguousarray(samples).reshape(-1).view(np.uint8),
        )
        try:
            return np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"))
        except CvBridgeError:
            return None

    return convert
