"""Start a simulated RGB-D camera and the node; rviz.launch.py shows the results, /ovps/query sets the queries."""

from launch import LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration

from ovps_ros.launch_helpers import VENV, declare_arguments, include_ovps, start_camera

ARGUMENTS = {
    "queries": ("knife handle, mug handle", "Parts to look for."),
    "namespace": ("", "Namespace of camera and node."),
    "venv": VENV,
}


def generate_launch_description():
    """Describe the launch; `ros2 launch --show-args` lists the arguments."""
    value = LaunchConfiguration
    node = include_ovps(
        queries=value("queries"),
        namespace=value("namespace"),
        venv=value("venv"),
        use_depth="true",
    )
    camera = OpaqueFunction(function=start_camera)
    return LaunchDescription([*declare_arguments(ARGUMENTS), node, camera])
