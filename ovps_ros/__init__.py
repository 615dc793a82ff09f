"""ROS 2 node for open-vocabulary part segmentation; the algorithms are in ovps_core."""

import os
from pkgutil import extend_path

from ovps_core.structures.requirements import exit_without_packages

__path__ = extend_path(
    __path__, __name__
)  # msg/, srv/ and action/ are generated into the install tree
# PyTorch's threads would spin between frames and slow every other process; read when PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
exit_without_packages(
    "rclpy",
    "diagnostic_msgs",
    "sensor_msgs",
    "ovps_ros.msg",
    program="ovps_ros",
    advice="source ROS 2 and the workspace with the messages of this package, see docs/robot.md",
)
