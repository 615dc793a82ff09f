"""An Intel RealSense with depth aligned to colour, and the node on it."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("ovps_ros")


def ovps(**arguments):
    """The node's own launch file."""
    path = PathJoinSubstitution([SHARE, "launch", "ovps.launch.py"])
    return IncludeLaunchDescription(path, launch_arguments=list(arguments.items()))


def generate_launch_description():
    """See `ros2 launch --show-args`."""
    queries = DeclareLaunchArgument(
        "queries", default_value="", description="What to look for, such as 'mug handle'."
    )
    driver = IncludeLaunchDescription(
        PathJoinSubstitution([FindPackageShare("realsense2_camera"), "launch", "rs_launch.py"]),
        launch_arguments=[("align_depth.enable", "true"), ("enable_sync", "true")],
    )
    node = ovps(
        queries=LaunchConfiguration("queries"),
        image="/camera/camera/color/image_raw",
        depth="/camera/camera/aligned_depth_to_color/image_raw",
        camera_info="/camera/camera/color/camera_info",
        use_depth="true",
    )
    return LaunchDescription([queries, node, driver])
