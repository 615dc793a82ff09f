"""The action ~/find_parts: look for parts in coming frames until all are seen, then answer once.

A goal waits without a thread of its own: a coroutine that frames and a timer wake up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from rclpy.timer import Timer

from ovps_core.errors import QueryError
from ovps_core.language.parser import parse_queries
from ovps_core.ros_io.codec import query_value
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery
from ovps_ros.action import FindParts
from ovps_ros.messages import masks_message, nanoseconds, parts_3d_message
from ovps_ros.pipeline import FrameResult
from ovps_ros.query_manager import QueryManager

Result = FindParts.Result


@dataclass
class _Goal:
    handle: ServerGoalHandle
    done: Future = field(default_factory=Future)
    queries: tuple[PartQuery, ...] = ()
    encoded: bool = False
    timer: Timer | None = None
    agreeing: dict[str, int] = field(default_factory=dict)
    last: FrameResult | None = None
    result: Any = None


class FindPartsServer:
    """Serves goals; :meth:`see` is called by the worker for every answer.

    Args:
        node: that serves.
        asked: where goals put their queries.
        is_active: whether frames are being handled.
    """

    def __init__(self, node: Node, asked: QueryManager, is_active: Callable[[], bool]) -> None:
        self._node, self._asked, self._is_active = node, asked, is_active
        self._goals: dict[bytes, _Goal] = {}
        self._lock = threading.RLock()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._server = ActionServer(
            node,
            FindParts,
            "~/find_parts",
            execute_callback=self._run,
            handle_accepted_callback=self._begin,
            cancel_callback=self._cancel,
        )

    def see(self, answer: FrameResult) -> None:
        """Finish the goals that this answer fulfils, tell the others what was seen."""
        with self._lock:
            for goal in list(self._goals.values()):
                understood = goal.queries and set(goal.queries) <= set(answer.masks.queries)
                if goal.result is None and understood:
                    self._look(goal, answer)

    def stop(self, why: str) -> None:
        """No more frames will come."""
        with self._lock:
            for goal in list(self._goals.values()):
                self._finish(goal, Result.NOT_ACTIVE, why)

    def destroy(self) -> None:
        """Take the action back."""
        self._server.destroy()

    def _begin(self, handle: ServerGoalHandle) -> None:
        goal = _Goal(handle)
        with self._lock:
            self._goals[_key(handle)] = goal
            handle.execute()
            if not self._is_active():
                self._finish(goal, Result.NOT_ACTIVE, "the node is not active: activate it first")
                return
            seconds = nanoseconds(handle.request.timeout) / 1e9
            if seconds > 0:
                goal.timer = self._node.create_timer(
                    seconds, lambda: self._give_up(goal), clock=self._steady
                )
        begun = self._asked.begin(_key(handle), lambda: self._read(goal))
        begun.add_done_callback(lambda begun: self._encoded(goal, begun.exception()))

    def _read(self, goal: _Goal) -> tuple[PartQuery, ...]:
        queries = parse_queries([query_value(query) for query in goal.handle.request.queries])
        if not queries:
            raise QueryError("a goal without queries; expected at least one")
        goal.queries = queries
        return queries

    def _encoded(self, goal: _Goal, error: BaseException | None) -> None:
        with self._lock:
            goal.encoded = error is None
            if error is not None:
                self._finish(goal, Result.NOT_FOUND, str(error))

    def _look(self, goal: _Goal, answer: FrameResult) -> None:
        goal.last = answer
        request = goal.handle.request
        found = {part.query for part in answer.masks.parts}
        if request.want_3d:
            found = {part.query for part in answer.space.parts} if answer.space else set()
        streak = goal.agreeing.get(answer.camera, 0) + 1 if found.issuperset(goal.queries) else 0
        goal.agreeing[answer.camera] = streak
        if streak >= max(1, request.min_frames):
            self._finish(goal, Result.OK, "all were seen")
            return
        seen = masks_message(_only(answer.masks, goal.queries), answer.header)
        goal.handle.publish_feedback(FindParts.Feedback(seen=seen))

    def _give_up(self, goal: _Goal) -> None:
        with self._lock:
            if not goal.encoded:
                self._finish(
                    goal, Result.NOT_FOUND, "the words were not encoded in time: wait longer"
                )
                return
            if goal.last is None:
                self._finish(goal, Result.NO_IMAGE, "no image came in time: see /diagnostics")
                return
            found = {part.query for part in goal.last.masks.parts}
            missing = [q.text for q in goal.queries if q not in found]
            if missing:
                self._finish(goal, Result.NOT_FOUND, f"not in view: {', '.join(missing)}")
            elif goal.handle.request.want_3d:
                self._finish(goal, Result.NO_DEPTH, "seen, but without depth: see /diagnostics")
            else:
                self._finish(goal, Result.NOT_FOUND, "seen, but not in enough frames in a row")

    def _cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        with self._lock:
            goal = self._goals.get(_key(handle))
            if goal is None or goal.result is not None:
                return CancelResponse.REJECT
        # the state changes after this returns, the goal must be concluded after that
        self._node.executor.create_task(self._cancelled, goal)
        return CancelResponse.ACCEPT

    def _cancelled(self, goal: _Goal) -> None:
        with self._lock:
            self._finish(goal, Result.NOT_FOUND, "cancelled")

    def _finish(self, goal: _Goal, status: int, message: str) -> None:
        if goal.result is not None:
            return
        goal.result = Result(status=status, message=message)
        if goal.last is not None:
            answer = goal.last
            masks = _only(answer.masks, goal.queries)
            goal.result.masks = masks_message(masks, answer.header)
            if answer.space is not None:
                parts = [part for part in answer.space.parts if part.query in goal.queries]
                goal.result.parts_3d = parts_3d_message(
                    parts, answer.space.header, masks.height, masks.width
                )
        self._asked.end(_key(goal.handle))
        if self._node.executor is not None:
            self._node.executor.create_task(goal.done.set_result, None)

    async def _run(self, handle: ServerGoalHandle) -> Any:
        goal = self._goals[_key(handle)]
        await goal.done
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


def _key(handle: ServerGoalHandle) -> bytes:
    return bytes(handle.goal_id.uuid)


def _only(masks: PartMasks, queries: tuple[PartQuery, ...]) -> PartMasks:
    """The answer to some of the queries; ids stay those of ~/labels."""
    parts = tuple(part for part in masks.parts if part.query in queries)
    return replace(masks, queries=queries, parts=parts)
