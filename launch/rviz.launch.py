"""RViz with the overlay, the cloud and the parts' boxes."""

from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description():
    """It has no arguments."""
    config = PathJoinSubstitution([FindPackageShare("ovps_ros"), "config", "ovps.rviz"])
    return LaunchDescription(
        [Node(package="rviz2", executable="rviz2", arguments=["-d", config], output="screen")]
    )
