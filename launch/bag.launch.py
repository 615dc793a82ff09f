"""Play a recording to the node, once it is active, and record its masks and 3D parts; ends with the recording."""

from launch import LaunchDescription
from launch.actions import (
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch_ros.event_handlers import OnStateTransition

from ovps_ros.launch_arguments import absolute_topic, bag_problem, node_topics
from ovps_ros.launch_helpers import VENV, declare_arguments, include_ovps, stop

ARGUMENTS = {
    "bag": (None, "The recording."),
    "out": ("ovps_masks", "Folder for the new recording."),
    "image": ("/image", "Topic of the colour image in the recording."),
    "depth": ("/depth", "Topic of depth aligned to colour."),
    "camera_info": ("/camera_info", "Topic of the colour image's camera_info."),
    "use_depth": ("", "true to subscribe to depth and publish parts in 3D."),
    "queries": ("", "Parts to look for, such as 'mug handle'."),
    "namespace": ("", "Namespace of the node."),
    "venv": VENV,
}


def play(context):
    """Start the node, then player and recorder when it is active."""
    given = context.launch_configurations
    if problem := bag_problem(given["bag"], given["out"]):
        return stop(problem)
    player = ExecuteProcess(cmd=["ros2", "bag", "play", given["bag"], "--clock", "100"])
    topics = ["--topics", *node_topics(given["namespace"])]
    recorder = ExecuteProcess(cmd=["ros2", "bag", "record", "--output", given["out"], *topics])
    end = TimerAction(period=2.0, actions=[Shutdown(reason="a program ended")])
    failed = Shutdown(reason="the node could not be configured")
    node = include_ovps(
        image=absolute_topic(given["image"]),
        depth=absolute_topic(given["depth"]),
        camera_info=absolute_topic(given["camera_info"]),
        use_depth=given["use_depth"],
        queries=given["queries"],
        namespace=given["namespace"],
        venv=given["venv"],
        use_sim_time="true",
    )
    return [
        RegisterEventHandler(OnStateTransition(goal_state="active", entities=[recorder, player])),
        RegisterEventHandler(OnStateTransition(goal_state="unconfigured", entities=[failed])),
        RegisterEventHandler(OnProcessExit(on_exit=[end], handle_once=True)),
        node,
    ]


def generate_launch_description():
    """Describe the launch; `ros2 launch --show-args` lists the arguments."""
    return LaunchDescription([*declare_arguments(ARGUMENTS), OpaqueFunction(function=play)])
