"""Start RViz with the overlay, the point cloud and the boxes of parts."""

from launch import LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from ovps_ros.launch_arguments import node_topics
from ovps_ros.launch_helpers import SHARE, declare_arguments

ARGUMENTS = {
    "namespace": ("", "Namespace of the node."),
    "frame": ("camera_color_optical_frame", "Fixed frame: that of the camera, or target_frame."),
}
SHOWN = ("overlay", "points", "markers")


def show(context):
    """Start RViz on the topics of the node."""
    given = context.launch_configurations
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", f"{SHARE.perform(context)}/config/ovps.rviz", "-f", given["frame"]],
        remappings=[
            (*node_topics("", (name,)), *node_topics(given["namespace"], (name,))) for name in SHOWN
        ],
        output="screen",
    )
    return [rviz]


def generate_launch_description():
    """Describe the launch; `ros2 launch --show-args` lists the arguments."""
    return LaunchDescription([*declare_arguments(ARGUMENTS), OpaqueFunction(function=show)])
