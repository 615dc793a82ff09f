"""Play a recording to the node, and record its masks and 3D parts."""

from launch import LaunchDescription
from launch.actions import ExecuteProcess
from launch.substitutions import LaunchConfiguration

from ovps_ros.launch_helpers import declare_arguments, include_ovps

ARGUMENTS = {
    "bag": (None, "The recording."),
    "out": ("ovps_masks", "Folder for the new recording."),
    "image": ("image", "Topic of the colour image in the recording."),
    "depth": ("depth", "Topic of depth aligned to colour."),
    "camera_info": ("camera_info", "Topic of the colour image's camera_info."),
    "use_depth": ("false", "Subscribe to depth and publish parts in 3D."),
    "queries": ("", "Parts to look for, such as 'mug handle'."),
}


def generate_launch_description():
    """Describe the launch; `ros2 launch --show-args` lists the arguments."""
    value = LaunchConfiguration
    node = include_ovps(
        image=value("image"),
        depth=value("depth"),
        camera_info=value("camera_info"),
        use_depth=value("use_depth"),
        queries=value("queries"),
        use_sim_time="true",
    )
    play = ExecuteProcess(cmd=["ros2", "bag", "play", value("bag"), "--clock", "100"])
    record = ExecuteProcess(
        cmd=["ros2", "bag", "record", "--output", value("out"), "/ovps/masks", "/ovps/parts_3d"]
    )
    return LaunchDescription([*declare_arguments(ARGUMENTS), node, record, play])
