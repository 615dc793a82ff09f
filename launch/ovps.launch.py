"""Start the node; arguments remap its inputs and set its parameters, if they are given."""

from launch import LaunchDescription
from launch.actions import OpaqueFunction

from ovps_ros.launch_helpers import VENV, declare_arguments, start_node

ARGUMENTS = {
    "image": ("image", "Topic of the colour image."),
    "depth": ("depth", "Topic of the depth image, aligned to colour."),
    "camera_info": ("camera_info", "Topic of the colour image's camera_info."),
    "depth_camera_info": (
        "depth_camera_info",
        "Topic of the depth camera's camera_info, for depth that is not aligned.",
    ),
    "objects": ("objects", "Topic of the objects, with object_model:=topic."),
    "params_file": ("", "File with parameters; empty for config/ovps.yaml of this package."),
    "remap": (
        "",
        "Further remaps of topics, such as those of several cameras: 'left/image:=/l/image_raw, /tf:=tf'.",
    ),
    # These override the file, but only if they are given.
    "queries": ("", "Parts to look for, such as 'knife handle, mug rim'."),
    "model": ("", "Name of a model or a file; the packaged model if nobody sets it."),
    "object_model": (
        "",
        "Objects: own, topic, or name or file of an object model; see docs/query.md.",
    ),
    "use_depth": ("", "true to subscribe to depth and publish parts in 3D."),
    "image_transport": ("", "Transport of colour images: raw or compressed."),
    "autostart": ("", "false to leave configure and activate to a lifecycle manager."),
    "use_sim_time": ("", "true to use the time of /clock."),
    "namespace": ("", "Namespace of the node."),
    "fastdds_profile": (
        "",
        "Fast DDS profile for large images; the camera needs the same one. Empty for that of the environment, or "
        "else of this package.",
    ),
    "venv": VENV,
    "log_level": ("info", "Log level: debug, info, warn or error."),
}


def generate_launch_description():
    """Describe the launch; `ros2 launch --show-args` lists the arguments."""
    return LaunchDescription([*declare_arguments(ARGUMENTS), OpaqueFunction(function=start_node)])
