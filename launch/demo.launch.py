"""A simulated RGB-D camera and the node; look with rviz.launch.py, ask on /ovps/query."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("ovps_ros")


def ovps(**arguments):
    """The node's own launch file."""
    path = PathJoinSubstitution([SHARE, "launch", "ovps.launch.py"])
    return IncludeLaunchDescription(path, launch_arguments=list(arguments.items()))


def generate_launch_description():
    """See `ros2 launch --show-args`."""
    camera = Node(package="ovps_ros", executable="ovps_sim_camera", output="screen")
    queries = DeclareLaunchArgument(
        "queries", default_value="knife handle, mug handle", description="What to look for."
    )
    node = ovps(queries=LaunchConfiguration("queries"), use_depth="true")
    return LaunchDescription([queries, node, camera])
