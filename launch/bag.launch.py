"""Play a recording to the node, and record what it answers."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("ovps_ros")


def ovps(**arguments):
    """The node's own launch file."""
    path = PathJoinSubstitution([SHARE, "launch", "ovps.launch.py"])
    return IncludeLaunchDescription(path, launch_arguments=list(arguments.items()))


ARGUMENTS = {
    "bag": (None, "The recording."),
    "out": ("ovps_masks", "Where the answers are recorded."),
    "image": ("image", "Topic of the colour image in the recording."),
    "depth": ("depth", "Topic of depth aligned to colour."),
    "camera_info": ("camera_info", "Topic of the colour image's camera_info."),
    "use_depth": ("false", "Answer in space too."),
    "queries": ("", "What to look for, such as 'mug handle'."),
}


def generate_launch_description():
    """See `ros2 launch --show-args`."""
    value = LaunchConfiguration
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=says)
        for name, (default, says) in ARGUMENTS.items()
    ]
    node = ovps(
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
    return LaunchDescription([*declared, node, record, play])
