"""The node ``ovps``: camera topics and words in, part masks and part poses out.

Callbacks only store the newest frame; one worker runs the model.  Measured against inference in the callback
and against a multi-threaded executor, this answers services in a millisecond and never builds a queue.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.errors import OvpsError, QueryError
from ovps_core.query import parse_queries
from ovps_core.segmenter import PartSegmenter
from ovps_ros import parameters
from ovps_ros.asked import Asked
from ovps_ros.cameras import Camera
from ovps_ros.diagnostics import ERROR, OK, WARN, Faults, status
from ovps_ros.finder import Finder
from ovps_ros.messages import query_message, query_value
from ovps_ros.msg import PartMasks, Parts3D
from ovps_ros.outputs import Outputs
from ovps_ros.parameters import ParameterError
from ovps_ros.pipeline import Answer, Pipeline, Worker
from ovps_ros.slot import Frame, NewestSlot
from ovps_ros.srv import SetQueries
from ovps_ros.transforms import Transforms

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class OvpsNode(LifecycleNode):
    """Lifecycle: configure loads and warms the model, activate subscribes, deactivate keeps the model."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("ovps", **node_arguments)
        self._faults = Faults(self._log)
        self._settings = parameters.declare(self)
        self._slot = NewestSlot()
        self._asked = Asked()
        self._cameras: dict[str, Camera] = {}
        self._outputs: dict[str, Outputs] = {}
        self._pipeline: Pipeline | None = None
        self._transforms: Transforms | None = None
        self._worker: Worker | None = None
        self._finder = Finder(self, self._asked, lambda: self._worker is not None)
        self._active_queries = self.create_publisher(String, "~/queries", _LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        self.create_subscription(String, "~/query", self._on_query, 10)
        self.create_service(SetQueries, "~/set_queries", self._on_set_queries)
        self.create_timer(1.0, self._diagnose)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._ask(self._settings.queries)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, warm it, make the publishers."""
        try:
            self._settings = settings = parameters.read(self)
            self._load(settings)
        except OvpsError as error:
            hint = "correct the parameter, then configure again"
            self._faults.report("configure", ERROR, str(error), hint, kind=str(error))
            self._release()
            return FAILURE
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
        super().destroy_node()

    def _load(self, settings: parameters.Settings) -> None:
        self.get_logger().info(f"loading {settings.model or DEFAULT_MODEL}")
        self._transforms = None
        if settings.target_frame or settings.publish_tf:
            self._transforms = Transforms(self, settings.target_frame)
        segmenter = PartSegmenter.from_pretrained(
            settings.model or DEFAULT_MODEL,
            backend=settings.backend,
            device=settings.device,
            precision=settings.precision,
        )
        names = settings.cameras or [""]
        segmenter.warm_up(batch=len(names))
        self._asked.use(segmenter)
        for name in names:
            self._cameras[name] = Camera(
                self, name, self._slot, self._faults, lambda: self._settings
            )
            self._outputs[name] = Outputs(self, name, settings.use_depth)
        depth = {n: c.depth for n, c in self._cameras.items() if c.depth is not None}
        self._pipeline = Pipeline(segmenter, depth, self._faults, self._place)
        for message in (PartMasks(), Parts3D()):
            serialize_message(message)  # the first of a kind loads its type support: 40 ms
        self.get_logger().info(f"{segmenter.name} on {segmenter.engine.name}")

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

    def _publish(self, answer: Answer, settings: parameters.Settings) -> None:
        outputs = self._outputs[answer.camera]
        latency = outputs.publish(answer, settings.overlay_alpha)
        self._cameras[answer.camera].counters.answer(latency / 1e6)
        if answer.space is not None:
            outputs.publish_space(answer.space, answer)
            if self._transforms is not None and settings.publish_tf:
                space = answer.space
                self._transforms.send(space.header, space.parts, settings.tf_prefix)

    def _place(self, header: Any, parts: Any) -> Any:
        if self._transforms is None:
            return header, parts
        return self._transforms.place(header, parts, self._settings.tf_timeout)

    def _exhausted(self) -> None:
        if self.executor is not None:
            self.executor.create_task(self.trigger_deactivate)

    # Queries and parameters

    def _on_query(self, message: String) -> None:
        self._ask(message.data)

    def _ask(self, text: Any) -> str:
        """Replace the standing queries; returns what is wrong with the text, "" if nothing."""
        try:
            wanted = parse_queries(text) if text else ()
            self._asked.replace(wanted)
        except QueryError as error:
            hint = "the queries before stay; say it as 'knife handle' or 'rim of the mug'"
            self._faults.report("query", WARN, str(error), hint, kind=str(error))
            return str(error)
        self._queries_changed()
        return ""

    def _on_set_queries(
        self, request: SetQueries.Request, response: SetQueries.Response
    ) -> SetQueries.Response:
        try:
            queries = parse_queries([query_value(query) for query in request.queries])
            self._asked.replace(queries, append=request.append)
            response.success = True
            self._queries_changed()
        except QueryError as error:
            response.message = str(error)
        response.active = [query_message(query) for query in self._asked.standing]
        return response

    def _queries_changed(self) -> None:
        self._faults.clear("query")
        text = "\n".join(query.text for query in self._asked.standing)
        self._active_queries.publish(String(data=text))

    def _on_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        try:
            settings = self._settings.changed(changed)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if any(parameter.name == "queries" for parameter in changed):
            wrong = self._ask(settings.queries)
            if wrong:
                return SetParametersResult(successful=False, reason=wrong)
        self._settings = settings
        return SetParametersResult(successful=True)

    # Diagnostics

    def _log(self, level: bytes, text: str) -> None:
        # one call a level: rclpy allows one level for each place in the code
        if level == ERROR:
            self.get_logger().error(text)
        else:
            self.get_logger().warning(text)

    def _diagnose(self) -> None:
        name, pipeline = self.get_name(), self._pipeline
        model = pipeline.segmenter.name if pipeline else ""
        add = functools.partial(status, hardware=model)
        state = "no model: configure first"
        if pipeline:
            state = "active" if self._worker else "inactive"
        asked = self._asked.standing
        said = ", ".join(query.text for query in asked[:10]) or "idle: no queries"
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        array.status = [
            add(f"{name}: model", OK, state, values={"model": model}),
            add(f"{name}: queries", OK, said, values={"count": len(asked)}),
        ]
        for camera in self._cameras.values():
            level, message, values = camera.watch()
            values["skipped for newer ones"] = str(self._slot.skipped)
            title = f"{name}: images" + (f" {camera.name}" if camera.name else "")
            array.status.append(add(title, level, message, values=values))
        array.status += self._faults.statuses(name, model)
        self._diagnostics.publish(array)


def main() -> None:
    """Run the node until it is told to stop."""
    rclpy.init()
    try:
        node = OvpsNode()
    except ParameterError as error:
        print(f"ovps: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    try:
        if node.get_parameter("autostart").value and node.trigger_configure() == SUCCESS:
            node.trigger_activate()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        with contextlib.suppress(RuntimeError):  # the signal handler may be at it this very moment
            rclpy.try_shutdown()


if __name__ == "__main__":
    main()
