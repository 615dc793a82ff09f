"""The node ``ovps``: camera topics and words in, part masks and part poses out.

Callbacks only store the newest frame or words; one worker runs the model, one thread encodes words.  Measured
against inference in the callback and against a multi-threaded executor, this answers services in a millisecond
and never builds a queue.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # the imports take seconds; Ctrl-C ends them without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import functools
import sys
import time
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rclpy.task import Future
from std_msgs.msg import Header, String

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines import EngineCache
from ovps_core.engines.openvino.calibration import read_calibration
from ovps_core.errors import OvpsError, QueryError
from ovps_core.language.parser import parse_queries
from ovps_core.pipeline.pose import Part3D
from ovps_core.ros_io.codec import query_value
from ovps_core.segmenter import PartSegmenter
from ovps_ros import parameters
from ovps_ros.cameras import Camera
from ovps_ros.diagnostics import ERROR, OK, WARN, FaultReporter, PeriodicCall, status
from ovps_ros.find_parts import FindPartsServer
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.messages import query_message
from ovps_ros.msg import PartMasks, Parts3D
from ovps_ros.parameters import ParameterError
from ovps_ros.pipeline import FrameResult, Pipeline, Worker
from ovps_ros.publishers import Outputs
from ovps_ros.query_manager import Queries, QueryManager, QueryReader
from ovps_ros.srv import SetQueries
from ovps_ros.tools.processes import run_node
from ovps_ros.transforms import Transforms

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class OvpsNode(LifecycleNode):
    """Lifecycle: configure loads and warms the model, activate subscribes, deactivate keeps the model."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("ovps", **node_arguments)
        self._faults = FaultReporter(self._log)
        self._settings = parameters.declare(self)
        self._slot = LatestFrames()
        self._asked = QueryManager()
        self._cameras: dict[str, Camera] = {}
        self._outputs: dict[str, Outputs] = {}
        self._pipeline: Pipeline | None = None
        self._transforms: Transforms | None = None
        self._worker: Worker | None = None
        self._doing, self._since = "", 0.0
        self._finder = FindPartsServer(self, self._asked, lambda: self._worker is not None)
        self._active_queries = self.create_publisher(String, "~/queries", _LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self.create_subscription(String, "~/query", self._on_query, 10)
        self.create_service(
            SetQueries,
            "~/set_queries",
            self._on_set_queries,
            callback_group=MutuallyExclusiveCallbackGroup(),  # images come while it waits
        )
        self.create_timer(1.0, self._diagnose)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._ask(lambda: parse_queries(self._settings.queries))

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, warm it, make the publishers."""
        try:
            self._settings = settings = parameters.read(self)
            with PeriodicCall(1.0, self._diagnose):  # the executor is busy here
                self._load(settings)
        except Exception as error:  # rclpy would only say that there was one
            wrong = (
                str(error) if isinstance(error, OvpsError) else f"{type(error).__name__}: {error}"
            )
            hint = "correct the parameter, then configure again"
            self._faults.report("configure", ERROR, wrong, hint, kind=wrong)
            self._release()
            return FAILURE
        finally:
            self._doing = ""
        self._faults.clear("configure")
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker, subscribe."""
        self._slot.clear()
        self._worker = Worker(self._slot, self._handle, self._faults, self._exhausted)
        self._worker.start()
        for camera in self._cameras.values():
            camera.subscribe()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, stop the worker; the model stays."""
        self._stop("the node was deactivated")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        self._release()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything."""
        self._stop("the node shuts down")
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, so that configure can be tried again."""
        self._stop("the node had an error")
        self._release()
        self._faults.report("lifecycle", ERROR, f"an error in state {state.label}")
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before its publishers go."""
        self._stop("the node shuts down")
        self._finder.destroy()
        self._asked.close()
        super().destroy_node()

    def _load(self, settings: parameters.Settings) -> None:
        name = settings.model or DEFAULT_MODEL
        self._do(f"loading {name}")
        self.get_logger().info(self._doing)
        self._transforms = None
        if settings.target_frame or settings.publish_tf:
            self._transforms = Transforms(self, settings.target_frame)
        cache = Path(settings.engine_cache).expanduser() if settings.engine_cache else None
        segmenter = PartSegmenter.from_pretrained(
            name,
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
            calibration=read_calibration(settings.calibration),
            engines=EngineCache(cache, self._build),
        )
        self._do(f"warming up {segmenter.engine.name}")
        names = settings.cameras or [""]
        segmenter.warm_up(batch=len(names))
        self._do("encoding the queries")
        self._asked.use(segmenter)
        cameras = {
            name: Camera(self, name, self._slot, self._faults, lambda: self._settings)
            for name in names
        }
        self._outputs = {name: Outputs(self, name, settings.use_depth) for name in names}
        depth = {n: c.depth for n, c in cameras.items() if c.depth is not None}
        self._pipeline = Pipeline(segmenter, depth, self._faults, self._place)
        self._cameras = cameras
        for message in (PartMasks(), Parts3D()):
            serialize_message(message)  # the first of a kind loads its type support: 40 ms
        self.get_logger().info(f"{segmenter.name} on {segmenter.engine.name}")

    def _do(self, what: str) -> None:
        """Tell the diagnostics what takes its time."""
        self._doing, self._since = what, time.monotonic()

    def _build(self, what: str) -> None:
        if not self._doing.startswith("building engine"):
            self._do("building engine")
            self.get_logger().info("building an engine; it is kept for the next start")
        self._doing = f"building engine: {what}"

    def _stop(self, why: str) -> None:
        for camera in self._cameras.values():
            camera.unsubscribe()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        self._finder.stop(why)

    def _release(self) -> None:
        self._asked.use(None)
        for outputs in self._outputs.values():
            outputs.destroy()
        self._cameras, self._outputs = {}, {}
        self._pipeline = self._transforms = None

    # The path of a frame, in the worker

    def _handle(self, frames: list[Frame]) -> None:
        plan, settings, pipeline = self._asked.plan, self._settings, self._pipeline
        if plan is None or pipeline is None:
            return
        for answer in pipeline.answer(frames, plan, settings):
            self._publish(answer, settings)
            self._finder.see(answer)

    def _publish(self, answer: FrameResult, settings: parameters.Settings) -> None:
        outputs = self._outputs[answer.camera]
        latency = outputs.publish(answer, settings.overlay_alpha)
        self._cameras[answer.camera].counters.answer(latency / 1e6)
        if answer.space is not None:
            outputs.publish_3d(answer.space, answer)
            if self._transforms is not None and settings.publish_tf:
                space = answer.space
                self._transforms.send(space.header, space.parts, settings.tf_prefix, answer.camera)

    def _place(
        self, header: Header, parts: tuple[Part3D, ...]
    ) -> tuple[Header, tuple[Part3D, ...]]:
        if self._transforms is None:
            return header, parts
        return self._transforms.place(header, parts, self._settings.tf_timeout)

    def _exhausted(self) -> None:
        self._in_executor(self._give_up)

    def _give_up(self) -> None:
        if self._worker is not None:  # else someone was faster
            self.trigger_deactivate()

    # Queries and parameters

    def _on_query(self, message: String) -> None:
        asked = self._asked.say(message.data)
        if asked is not None:
            asked.add_done_callback(self._understood)

    def _ask(self, words: QueryReader) -> None:
        self._asked.replace(words).add_done_callback(self._understood)

    def _understood(self, asked: ThreadFuture[Queries]) -> None:
        """What a topic or a parameter asked is encoded, or of no use."""
        error = asked.exception()
        if error is not None:
            hint = "the queries before stay; say it as 'knife handle' or 'rim of the mug'"
            self._faults.report("query", WARN, str(error), hint, kind=str(error))
        else:
            self._queries_changed(asked)

    async def _on_set_queries(
        self, request: SetQueries.Request, response: SetQueries.Response
    ) -> SetQueries.Response:
        asked = self._asked.replace(
            lambda: parse_queries([query_value(query) for query in request.queries]),
            append=request.append,
        )
        asked.add_done_callback(self._queries_changed)
        done = Future()
        asked.add_done_callback(lambda _: self._in_executor(done.set_result, None))
        await done
        error = asked.exception()
        response.success, response.message = error is None, str(error or "")
        active = self._asked.standing if error else asked.result()
        response.active = [query_message(query) for query in active]
        return response

    def _in_executor(self, call: Any, *arguments: Any) -> None:
        if self.executor is not None:
            self.executor.create_task(call, *arguments)

    def _queries_changed(self, asked: ThreadFuture[Queries]) -> None:
        if asked.exception() is None and self.context.ok():
            self._faults.clear("query")
            text = "\n".join(query.text for query in asked.result())
            self._active_queries.publish(String(data=text))

    def _on_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        try:
            settings = self._settings.changed(changed)
            if any(parameter.name == "queries" for parameter in changed):
                queries = parse_queries(settings.queries)
                self._ask(lambda: queries)
        except (ParameterError, QueryError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = settings
        return SetParametersResult(successful=True)

    # Diagnostics

    def _log(self, level: bytes, text: str) -> None:
        if not self.context.ok():  # what fails because the program ends is no news
            return
        # one call a level: rclpy allows one level for each place in the code
        if level == ERROR:
            self.get_logger().error(text)
        else:
            self.get_logger().warning(text)

    def _diagnose(self) -> None:
        try:
            self._diagnostics.publish(self._status())
        except Exception:
            if self.context.ok():
                raise  # else it failed because the program ends

    def _status(self) -> DiagnosticArray:
        name = self.get_fully_qualified_name().lstrip("/")  # one node a namespace is common
        pipeline = self._pipeline
        model = pipeline.segmenter.name if pipeline else ""
        add = functools.partial(status, hardware=model)
        level, state = OK, "no model: configure first"
        if pipeline:
            state = "active" if self._worker else "inactive"
        elif self._doing:
            seconds = time.monotonic() - self._since
            level, state = WARN, f"{self._doing}, {seconds:.0f} s so far"
        asked = self._asked.standing
        said = ", ".join(query.text for query in asked[:10]) or "idle: no queries"
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        array.status = [
            add(f"{name}: model", level, state, values={"model": model}),
            add(f"{name}: queries", OK, said, values={"count": len(asked)}),
        ]
        for camera in self._cameras.values():
            level, message, values = camera.watch()
            values["skipped for newer ones"] = str(self._slot.skipped)
            title = f"{name}: images" + (f" {camera.name}" if camera.name else "")
            array.status.append(add(title, level, message, values=values))
        array.status += self._faults.statuses(name, model)
        return array


def _begin(node: OvpsNode) -> None:
    if node.get_parameter("autostart").value and node.trigger_configure() == SUCCESS:
        node.trigger_activate()


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node("ovps", OvpsNode, _begin))


if __name__ == "__main__":
    main()
