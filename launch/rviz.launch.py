"""Start RViz with the overlay, the point cloud and the boxes of parts."""

from launch import LaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    """Describe the launch; it has no arguments."""
    config = PathJoinSubstitution([FindPackageShare("ovps_ros"), "config", "ovps.rviz"])
    return LaunchDescription(
        [Node(package="rviz2", executable="rviz2", arguments=["-d", config], output="screen")]
    )
