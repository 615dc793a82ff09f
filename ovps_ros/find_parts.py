"""Action ~/find_parts: look for parts in the coming frames until all are seen, then answer once.

A goal waits in a coroutine, not in a thread. Frames and a timer wake it up.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass, field, replace
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from rclpy.timer import Timer

from ovps_core.errors import QueryError
from ovps_core.ros_io.codec import nanoseconds
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery
from ovps_ros.action import FindParts
from ovps_ros.executor import run_in_executor
from ovps_ros.frame_result import FrameResult
from ovps_ros.messages import message_encoder
from ovps_ros.query_manager import (
    QueryList,
    QueryManager,
    QueryUpdate,
    Refused,
    describe_refused,
    read_messages,
)

Result = FindParts.Result


@dataclass
class _Goal:
    """State of one goal.

    Attributes:
        handle: handle of the action server.
        done: set when the result is there.
        queries: queries that the model answers; empty until they are encoded.
        refused: phrases that it does not answer.
        timer: timer of the goal's timeout.
        consecutive: frames in a row that showed all parts, per camera.
        last: last result that answers the goal's queries, of each camera.
        result: the action's result.
        accepted_at: time on the monotonic clock, seconds; images that arrived before it do not count.
        accepted_ns: time on the node's clock, nanoseconds; images of before do not count, if stamps are checked.
    """

    handle: ServerGoalHandle
    done: Future = field(default_factory=Future)
    queries: tuple[PartQuery, ...] = ()
    refused: Refused = ()
    timer: Timer | None = None
    consecutive: dict[str, int] = field(default_factory=dict)
    last: dict[str, FrameResult] = field(default_factory=dict)
    result: FindParts.Result | None = None
    accepted_at: float = field(default_factory=time.monotonic)
    accepted_ns: int = 0

    @property
    def best(self) -> FrameResult | None:
        """The last result of the camera that misses the fewest parts; the newest of equally good ones."""
        return min(
            self.last.values(),
            key=lambda result: (len(self.missing(result)), -result.arrived_at),
            default=None,
        )

    def masks(self, result: FrameResult, *, only_sure: bool = False) -> PartMasks:
        """Masks of the goal's own queries; ids stay those of ~/labels.

        Args:
            result: of a frame.
            only_sure: leave out parts with a smaller margin than the goal wants.
        """
        parts = tuple(
            part
            for part in result.masks.parts
            if part.query in self.queries and (not only_sure or self.is_sure(part))
        )
        return replace(result.masks, queries=self.queries, refused=self.refused, parts=parts)

    def is_sure(self, part: PartMask) -> bool:
        """Return True for a part whose margin is as large as the goal wants it."""
        min_margin = self.handle.request.min_margin
        return min_margin <= 0 or part.margin >= min_margin

    def missing(self, result: FrameResult) -> tuple[PartQuery, ...]:
        """Queries without a part that counts: with the margin, and with depth if the goal wants a pose."""
        parts = self.masks(result, only_sure=True).parts
        if self.handle.request.want_3d:
            measured = {part.id for part in result.in_3d.parts} if result.in_3d else set()
            parts = tuple(part for part in parts if part.id in measured)
        found = {part.query for part in parts}
        return tuple(query for query in self.queries if query not in found)


class FindPartsServer:
    """Server of the action; the worker calls :meth:`on_result` for every frame.

    Args:
        node: the node.
        queries: manager to which goals add their queries.
        is_active: function that returns True while frames are processed.
        has_depth: function that returns True if the node has depth.
        on_encoded: function called when the queries of a goal are encoded, or could not be.
        explain_no_answer: function that says why no image was answered since a time on the monotonic clock.
    """

    def __init__(
        self,
        node: Node,
        queries: QueryManager,
        is_active: Callable[[], bool],
        has_depth: Callable[[], bool],
        on_encoded: Callable[[ThreadFuture[QueryUpdate]], None],
        explain_no_answer: Callable[[float], str],
    ) -> None:
        self._node, self._queries = node, queries
        self._is_active, self._has_depth = is_active, has_depth
        self._report, self._explain_no_answer = on_encoded, explain_no_answer
        self._goals: dict[bytes, _Goal] = {}
        self._lock = threading.RLock()
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._server = ActionServer(
            node,
            FindParts,
            "~/find_parts",
            execute_callback=self._execute,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
        )

    def on_result(self, result: FrameResult) -> None:
        """Finish the goals that a frame fulfils, and send feedback to the others."""
        with self._lock:
            for goal in list(self._goals.values()):
                encoded = goal.queries and set(goal.queries) <= set(result.masks.queries)
                if goal.result is None and encoded and self._is_of_goal(result, goal):
                    self._check_goal(goal, result)

    def stop(self, reason: str) -> None:
        """Finish all goals, because no more frames will come."""
        with self._lock:
            for goal in list(self._goals.values()):
                self._finish(goal, Result.NOT_ACTIVE, reason)

    def destroy(self) -> None:
        """Remove the action."""
        self._server.destroy()

    def _is_of_goal(self, result: FrameResult, goal: _Goal) -> bool:
        """True for an image that was taken after the goal was accepted."""
        if result.arrived_at < goal.accepted_at:
            return False
        now_ns = self._node.get_clock().now().nanoseconds
        if not self._parameter("max_age") or now_ns < goal.accepted_ns:
            return True  # stamps say nothing, or simulated time was set back
        return nanoseconds(result.header.stamp) >= goal.accepted_ns

    def _parameter(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        goal = _Goal(handle, accepted_ns=self._node.get_clock().now().nanoseconds)
        with self._lock:
            self._goals[_key(handle)] = goal
            handle.execute()
            if problem := _problem_of_numbers(handle.request):
                self._finish(goal, Result.BAD_QUERY, problem)
                return
            if not self._is_active():
                self._finish(goal, Result.NOT_ACTIVE, "the node is not active: activate it first")
                return
            if handle.request.want_3d and not self._has_depth():
                reason = "want_3d needs depth: set the parameter use_depth, then configure again"
                self._finish(goal, Result.NO_DEPTH, reason)
                return
            seconds = nanoseconds(handle.request.timeout) / 1e9
            if seconds > 0:
                goal.timer = self._node.create_timer(
                    seconds, lambda: self._on_timeout(goal), clock=self._clock
                )
        added = self._queries.add_goal(_key(handle), lambda: _read_goal(handle.request.queries))
        added.add_done_callback(lambda update: self._on_encoded(goal, update))

    def _on_encoded(self, goal: _Goal, update: ThreadFuture[QueryUpdate]) -> None:
        error = update.exception()
        self._report(update)
        with self._lock:
            if isinstance(error, QueryError):
                goal.refused = error.refused
                self._finish(goal, Result.BAD_QUERY, str(error))
            elif error is not None:
                message = f"the queries could not be encoded: {type(error).__name__}: {error}"
                self._finish(goal, Result.FAILED, message)
            else:
                goal.queries, goal.refused = update.result().accepted, update.result().refused

    def _check_goal(self, goal: _Goal, result: FrameResult) -> None:
        """Count a frame that shows all parts; finish the goal after enough of them in a row."""
        goal.last[result.camera] = result
        complete = not goal.missing(result)
        consecutive = goal.consecutive.get(result.camera, 0) + 1 if complete else 0
        goal.consecutive[result.camera] = consecutive
        if consecutive >= max(1, goal.handle.request.min_frames):
            self._finish(goal, Result.OK, "all were seen", result)
            return
        seen = message_encoder.masks(goal.masks(result), result.header)
        goal.handle.publish_feedback(FindParts.Feedback(seen=seen))

    def _on_timeout(self, goal: _Goal) -> None:
        with self._lock:
            best = goal.best
            if not goal.queries:
                message = "the queries were not encoded in time: set a longer timeout"
                self._finish(goal, Result.FAILED, message)
            elif best is None:
                message = self._explain_no_answer(goal.accepted_at)
                self._finish(goal, Result.NO_IMAGE, message)
            else:
                self._finish(goal, *self._what_is_missing(goal, best), best)

    def _what_is_missing(self, goal: _Goal, result: FrameResult) -> tuple[int, str]:
        """(status, message) of a goal that a frame does not fulfil."""
        found = {part.query for part in result.masks.parts}
        sure = {part.query for part in goal.masks(result, only_sure=True).parts}
        absent = [q.label for q in goal.queries if q not in found and q not in result.undecided]
        if absent:
            message, max_parts = f"not in view: {', '.join(absent)}", self._parameter("max_parts")
            if len(result.masks.parts) >= max_parts:
                message += f", among the {max_parts} best parts of the image: raise the parameter max_parts"
            return Result.NOT_FOUND, message
        unsure = [q.label for q in goal.queries if q in found and q not in sure]
        if unsure:
            message = f"seen, but another answer was almost as good: {', '.join(unsure)}"
            return Result.NOT_SURE, message
        if missing := goal.missing(result):
            names = ", ".join(query.label for query in missing)
            return Result.NO_DEPTH, f"seen, but without depth: {names}; see /diagnostics"
        return Result.NOT_FOUND, "seen, but not in enough frames in a row"

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        with self._lock:
            goal = self._goals.get(_key(handle))
            if goal is None or goal.result is not None:
                return CancelResponse.REJECT
        # the goal's state changes after this callback returns, and it must be finished after that
        run_in_executor(self._node, self._finish_cancelled, goal)
        return CancelResponse.ACCEPT

    def _finish_cancelled(self, goal: _Goal) -> None:
        with self._lock:
            self._finish(goal, Result.NOT_FOUND, "cancelled")

    def _finish(
        self, goal: _Goal, status: int, message: str, last: FrameResult | None = None
    ) -> None:
        """Set the result of a goal, with the parts of a frame; without one, of the best that it had."""
        if goal.result is not None:
            return
        last = last or goal.best
        if goal.refused and status != Result.BAD_QUERY:
            message += f"; refused: {describe_refused(goal.refused)}"
        goal.result = Result(
            status=status,
            message=message,
            queries=[message_encoder.query(query) for query in goal.queries],
            refused=[message_encoder.refused(query) for query in goal.refused],
        )
        if last is not None:
            masks = goal.masks(last, only_sure=status == Result.OK)
            in_3d = last.in_3d
            goal.result.masks = message_encoder.masks(masks, last.header)
            if in_3d is not None:
                ids = {part.id for part in masks.parts}
                parts = [part for part in in_3d.parts if part.id in ids]
                goal.result.parts_3d = message_encoder.parts_3d(
                    parts, in_3d.header, masks.height, masks.width
                )
        self._queries.remove_goal(_key(goal.handle))
        run_in_executor(self._node, goal.done.set_result, None)

    async def _execute(self, handle: ServerGoalHandle) -> Any:
        goal = self._goals[_key(handle)]
        await goal.done
        assert goal.result is not None  # set before the goal is done
        with self._lock:
            del self._goals[_key(handle)]
        if goal.timer is not None:
            self._node.destroy_timer(goal.timer)
        if handle.is_cancel_requested:
            handle.canceled()
        elif goal.result.status == Result.OK:
            handle.succeed()
        else:
            handle.abort()
        return goal.result


def _read_goal(messages: Sequence[Any]) -> QueryList:
    if not messages:
        raise QueryError("a goal without queries; expected at least one")
    return read_messages(messages)


def _problem_of_numbers(request: FindParts.Goal) -> str:
    """Problem with the numbers of a goal; "" if there is none."""
    timeout, margin = nanoseconds(request.timeout) / 1e9, request.min_margin
    if timeout < 0:
        return f"timeout of {timeout:g} s; expected 0 (no limit) or more"
    if not (math.isfinite(margin) and 0 <= margin <= 1):
        return f"min_margin of {margin:g}; expected 0 to 1"
    return ""


def _key(handle: ServerGoalHandle) -> bytes:
    return bytes(handle.goal_id.uuid)
