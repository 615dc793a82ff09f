"""ROS 2 node for open-vocabulary part segmentation; the algorithms are in ovps_core."""

from pkgutil import extend_path

from ovps_core.structures.requirements import exit_without_packages

__path__ = extend_path(
    __path__, __name__
)  # msg/, srv/ and action/ are generated into the install tree
exit_without_packages(
    "rclpy",
    "diagnostic_msgs",
    "sensor_msgs",
    "ovps_ros.msg",
    program="ovps_ros",
    advice="source ROS 2 and the workspace with the messages of this package, see docs/robot.md",
)
