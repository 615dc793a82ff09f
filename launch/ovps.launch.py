"""Start the node; arguments remap its inputs and set its queries."""

from typing import List

from launch import LaunchDescription
from launch.actions import SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ovps_ros.launch_helpers import SHARE, declare_arguments

ARGUMENTS = {
    "image": ("image", "Topic of the colour image."),
    "depth": ("depth", "Topic of the depth image, aligned to colour."),
    "camera_info": ("camera_info", "Topic of the colour image's camera_info."),
    "queries": ("", "Parts to look for, such as 'knife handle, mug rim'."),
    "model": ("", "Name of a model or a file; empty for the packaged model."),
    "use_depth": ("false", "Subscribe to depth and publish parts in 3D."),
    "image_transport": ("raw", "Transport of colour images: raw or compressed."),
    "params_file": (
        PathJoinSubstitution([SHARE, "config", "ovps.yaml"]),
        "File with more parameters.",
    ),
    "namespace": ("", "Namespace of the node."),
    "autostart": ("true", "Configure and activate at start."),
    "use_sim_time": ("false", "Use the time of /clock."),
    "fastdds_profile": (
        PathJoinSubstitution([SHARE, "config", "fastdds.xml"]),
        "Fast DDS profile for large images; the camera needs the same one.",
    ),
    "log_level": ("info", "Log level: debug, info, warn or error."),
}


def generate_launch_description():
    """Describe the launch; `ros2 launch --show-args` lists the arguments."""
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
    return LaunchDescription([*declare_arguments(ARGUMENTS), *profiles, node])
