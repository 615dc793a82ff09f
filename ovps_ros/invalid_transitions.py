"""Answers to lifecycle transitions that are not possible in the present state."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode


def answer_invalid_transitions(node: LifecycleNode) -> None:
    """Let the service ~/change_state answer false to an impossible transition.

    rclpy raises there, which would end the node (ros2/rclpy#1209).

    Args:
        node: the node, after its constructor.
    """
    service = node._service_change_state  # rclpy has no public name for it
    change_state = service.callback

    def answer(request: Any, response: Any) -> Any:
        wanted = request.transition.label or request.transition.id
        possible = [transition[1] for transition in node._state_machine.available_transitions]
        try:
            return change_state(request, response)
        except Exception as error:  # RCLError is private; no request of a planner may end the node
            node.get_logger().warning(
                f"no transition {wanted} in this state; expected one of {', '.join(possible)}: {error}"
            )
            response.success = False
            return response

    service.callback = answer
