"""Runner of one node in this process, from start to Ctrl-C, without a traceback."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from ovps_core.errors import OvpsError, UsageError
from ovps_ros.interrupts import forget_interrupt

N = TypeVar("N", bound=Node)

_HELP = """usage: python -m {module} [--ros-args [-p NAME:=VALUE ...] [-r FROM:=TO ...] [--params-file FILE]]

Runs the node until Ctrl-C. Parameters, topics and services are listed in docs/ros_reference.md."""


@contextlib.contextmanager
def rclpy_session() -> Iterator[None]:
    """Initialise rclpy; Ctrl-C or SIGTERM leave the ``with`` block as a KeyboardInterrupt.

    rclpy shuts its context down at a signal, so that any call may fail with any exception. A KeyboardInterrupt
    raised while C++ of rclpy calls Python arrives as a RuntimeError.
    """
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        rclpy.init()
    except Exception as error:  # RCLError is private; its first sentence is the cause
        if interrupted:
            raise KeyboardInterrupt from error
        cause = str(error).split(", at ")[0]
        raise UsageError(f"ROS cannot start with these arguments: {cause}") from error
    try:
        yield
    except Exception as error:
        if interrupted or not rclpy.ok():
            raise KeyboardInterrupt from error
        raise


def run_node(
    name: str,
    module: str,
    make_node: Callable[[], N],
    on_start: Callable[[N], None] | None = None,
) -> int:
    """Run a node until Ctrl-C or SIGTERM, which may come at any moment.

    Args:
        name: name of the program for messages.
        module: module that ``python -m`` starts, for the help.
        make_node: constructor of the node.
        on_start: function called with the node before it spins.

    Returns:
        The exit code: 0, or 1 if the node could not be made, with the reason on stderr.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(_HELP.format(module=module))
        return 0
    node = None
    try:
        try:
            with rclpy_session():
                executor = SingleThreadedExecutor()  # fails after a signal, so it is made first
                node = make_node()
                if on_start is not None:
                    on_start(node)
                executor.add_node(node)
                executor.spin()
        finally:
            # A second Ctrl-C must not interrupt the cleanup.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if node is not None:
                node.destroy_node()
            with contextlib.suppress(RuntimeError):  # the signal handler may be shutting it down
                rclpy.try_shutdown()
    except KeyboardInterrupt:
        forget_interrupt()
    except (OvpsError, ParameterException) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0
