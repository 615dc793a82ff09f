"""ROS interface of the queries: ~/query, ~/set_queries, ~/queries, and the faults of refused phrases."""

from __future__ import annotations

from concurrent.futures import Future as ThreadFuture

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future
from std_msgs.msg import String

from ovps_core.errors import OvpsError, QueryError
from ovps_ros.diagnostics import ERROR, WARN, Fault, FaultReporter
from ovps_ros.executor import run_in_executor
from ovps_ros.messages import message_encoder
from ovps_ros.query_manager import (
    QueryList,
    QueryManager,
    QueryUpdate,
    Refused,
    describe_refused,
    read_messages,
)
from ovps_ros.srv import SetQueries

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_NOT_CHECKED = "kept, but not checked: no model is loaded; configure the node first"
_HINT = "write phrases such as 'knife handle' or 'rim of the mug'"


def describe_error(error: BaseException) -> str:
    """Message of an error; with its type, unless OVPS raised it on purpose."""
    return str(error) if isinstance(error, OvpsError) else f"{type(error).__name__}: {error}"


class QueryServer:
    """Topics and service that set and announce the persistent queries.

    Args:
        node: the node.
        manager: manager of the active queries.
        faults: reporter for phrases that are refused and for failures.
    """

    def __init__(self, node: Node, manager: QueryManager, faults: FaultReporter) -> None:
        self._node, self._manager, self._faults = node, manager, faults
        self._active = node.create_publisher(String, "~/queries", _LATCHED)
        node.create_subscription(String, "~/query", self._on_query, 10)
        node.create_service(
            SetQueries,
            "~/set_queries",
            self._on_set_queries,
            callback_group=MutuallyExclusiveCallbackGroup(),  # images arrive while it waits
        )

    def set_queries(self, queries: QueryList) -> None:
        """Replace the persistent queries."""
        self._manager.replace(lambda: queries).add_done_callback(self._on_queries_encoded)

    def announce(self, update: QueryUpdate) -> None:
        """Publish the active queries, and report those refused; without a model none is active."""
        self._faults.clear(Fault.QUERY)
        self._faults.clear(Fault.ENCODING)
        if self._node.context.ok() and update.has_model:
            text = "\n".join(dict.fromkeys(query.text for query in update.active))
            self._active.publish(String(data=text))
        self._report_refused(update, lasts=True)

    def report_problems(self, update: ThreadFuture[QueryUpdate], *, lasts: bool = False) -> None:
        """Report the phrases that a change refused, or why it failed.

        Args:
            update: the change.
            lasts: whether the problems last until the next change; those of a goal end with it.
        """
        error = update.exception()
        if error is None:
            self._report_refused(update.result(), lasts=lasts)
        elif isinstance(error, QueryError):
            hint = f"{self._left_active()}; {_HINT}"
            self._faults.report(Fault.QUERY, WARN, str(error), hint, kind=str(error), lasts=lasts)
        else:
            kind, hint = type(error).__name__, self._left_active()
            text = describe_error(error)
            self._faults.report(Fault.ENCODING, ERROR, text, hint, kind=kind, lasts=lasts)

    def _on_query(self, message: String) -> None:
        update = self._manager.submit_text(message.data)
        if update is not None:
            update.add_done_callback(self._on_queries_encoded)

    async def _on_set_queries(
        self, request: SetQueries.Request, response: SetQueries.Response
    ) -> SetQueries.Response:
        update = self._manager.replace(
            lambda: read_messages(request.queries), append=request.append
        )
        update.add_done_callback(self._on_queries_encoded)
        done = Future()
        update.add_done_callback(lambda _: run_in_executor(self._node, done.set_result, None))
        await done
        error = update.exception()
        refused: Refused = ()
        if error is None:
            result = update.result()
            active, refused = result.active if result.has_model else (), result.refused
            response.message = f"refused: {describe_refused(refused)}" if refused else ""
            if result.accepted and not result.has_model:
                response.message = "; ".join(filter(None, (response.message, _NOT_CHECKED)))
        else:
            active = self._manager.persistent
            refused = error.refused if isinstance(error, QueryError) else ()
            response.message = describe_error(error)
        response.success = error is None
        response.active = [message_encoder.query(query) for query in active]
        response.refused = [message_encoder.refused(query) for query in refused]
        return response

    def _on_queries_encoded(self, update: ThreadFuture[QueryUpdate]) -> None:
        """Announce a change, or report why it failed; called in the manager's thread."""
        if update.exception() is None:
            self.announce(update.result())
        else:
            self.report_problems(update, lasts=True)

    def _left_active(self) -> str:
        """The persistent queries after a change that failed, for a hint."""
        return (
            "the queries before stay active" if self._manager.persistent else "no query is active"
        )

    def _report_refused(self, update: QueryUpdate, *, lasts: bool) -> None:
        if update.refused:
            reasons = describe_refused(update.refused)
            active = "the others are active" if update.accepted else self._left_active()
            hint = f"{active}; {_HINT}"
            self._faults.report(Fault.QUERY, WARN, reasons, hint, kind=reasons, lasts=lasts)
