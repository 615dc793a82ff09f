"""Start an Intel RealSense camera with depth aligned to colour, and the node."""

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from ovps_ros.launch_helpers import VENV, declare_arguments, include_ovps, set_dds_profile

ARGUMENTS = {
    "queries": ("", "Parts to look for, such as 'mug handle'."),
    "namespace": ("", "Namespace of the node; the driver keeps its own."),
    "venv": VENV,
}


def generate_launch_description():
    """Describe the launch; `ros2 launch --show-args` lists the arguments."""
    value = LaunchConfiguration
    driver = IncludeLaunchDescription(
        PathJoinSubstitution([FindPackageShare("realsense2_camera"), "launch", "rs_launch.py"]),
        launch_arguments=[("align_depth.enable", "true"), ("enable_sync", "true")],
    )
    node = include_ovps(
        queries=value("queries"),
        namespace=value("namespace"),
        venv=value("venv"),
        image="/camera/camera/color/image_raw",
        depth="/camera/camera/aligned_depth_to_color/image_raw",
        camera_info="/camera/camera/color/camera_info",
        use_depth="true",
    )
    # The driver needs the profile for large images. It comes before the node: if it is not installed, the launch
    # ends before the node is started.
    profile = OpaqueFunction(function=set_dds_profile)
    return LaunchDescription([*declare_arguments(ARGUMENTS), profile, driver, node])
