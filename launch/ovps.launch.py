"""The node alone: remap its inputs, give it words."""

from typing import List

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("ovps_ros")
ARGUMENTS = {
    "image": ("image", "Topic of the colour image."),
    "depth": ("depth", "Topic of the depth image, aligned to colour."),
    "camera_info": ("camera_info", "Topic of the colour image's camera_info."),
    "queries": ("", "What to look for, such as 'knife handle, mug rim'."),
    "model": ("", "A model's name or file; empty for the packaged one."),
    "use_depth": ("false", "Subscribe to depth and publish parts in space."),
    "image_transport": ("raw", "raw or compressed."),
    "params_file": (PathJoinSubstitution([SHARE, "config", "ovps.yaml"]), "More parameters."),
    "namespace": ("", "Namespace of the node."),
    "autostart": ("true", "Configure and activate at start."),
    "use_sim_time": ("false", "Take the time from /clock."),
    "fastdds_profile": (
        PathJoinSubstitution([SHARE, "config", "fastdds.xml"]),
        "Transport of large images; the camera needs the same.",
    ),
    "log_level": ("info", "debug, info, warn or error."),
}


def generate_launch_description():
    """See `ros2 launch --show-args`."""
    value = LaunchConfiguration
    texts = {n: ParameterValue(value(n), value_type=str) for n in ("model", "image_transport")}
    queries = ParameterValue(['["', value("queries"), '"]'], value_type=List[str])
    flags = {
        n: ParameterValue(value(n), value_type=bool)
        for n in ("use_depth", "autostart", "use_sim_time")
    }
    node = Node(
        package="ovps_ros",
        executable="ovps_node",
        name="ovps",
        namespace=value("namespace"),
        parameters=[value("params_file"), {"queries": queries}, texts, flags],
        remappings=[(name, value(name)) for name in ("image", "depth", "camera_info")],
        arguments=["--ros-args", "--log-level", value("log_level")],
        output="screen",
    )
    variables = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"  # Fast DDS 2, 3
    profiles = [SetEnvironmentVariable(name, value("fastdds_profile")) for name in variables]
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=says)
        for name, (default, says) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, *profiles, node])
