"""Calls from other threads into a node's executor."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node


def run_in_executor(node: Node, call: Callable[..., object], *arguments: object) -> None:
    """Run a call in the executor of a node; a node that is in none, such as at its end, drops it.

    An exception is logged: it would end the executor, and the node with it.
    """

    def guarded() -> None:
        try:
            call(*arguments)
        except Exception as error:
            node.get_logger().error(f"internal error: {type(error).__name__}: {error}")

    executor = node.executor
    if executor is not None:
        executor.create_task(guarded)
