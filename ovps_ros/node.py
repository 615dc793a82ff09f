"""ROS 2 lifecycle node ``ovps``: images and queries in, part masks and part poses out.

Callbacks only store the newest frame or text. One worker thread runs the model, one thread encodes queries.
Compared with inference in the callback and with a multi-threaded executor, this answers services within a
millisecond and never builds a queue of images.
"""

from __future__ import annotations

import os

from ovps_ros.interrupts import end_quietly_on_interrupt

if __name__ == "__main__":
    end_quietly_on_interrupt()
# PyTorch's threads would spin between frames and slow every other process; read when PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import functools
import gc
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines import EngineCache
from ovps_core.engines.calibration import read_calibration
from ovps_core.errors import OvpsError
from ovps_core.ros_io.bridge import find_bridge
from ovps_core.ros_io.recorded import RecordedSegmenter, is_recorded
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.cache_folder import expand_home
from ovps_ros import parameters
from ovps_ros.cameras import CameraStream
from ovps_ros.clock_watch import ClockWatch
from ovps_ros.depth_stage import DepthStage
from ovps_ros.diagnostics import (
    ERROR,
    OK,
    WARN,
    Activity,
    Fault,
    FaultReporter,
    PeriodicCall,
    status,
)
from ovps_ros.executor import run_in_executor
from ovps_ros.find_parts import FindPartsServer
from ovps_ros.frame_result import FrameResult
from ovps_ros.invalid_transitions import answer_invalid_transitions
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.msg import PartMasks, Parts3D
from ovps_ros.parameter_checks import check_for_configure
from ovps_ros.parameters import Settings
from ovps_ros.pipeline import Pipeline, Worker
from ovps_ros.query_manager import QueryManager, describe_refused, read_phrases
from ovps_ros.query_server import QueryServer, describe_error
from ovps_ros.run_node import run_node
from ovps_ros.transforms import PartFrames, TargetFrame, Transforms

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class OvpsNode(LifecycleNode):
    """Lifecycle node: configure loads and warms up the model, activate subscribes, deactivate keeps the model."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("ovps", **node_arguments)
        self._faults = FaultReporter(self._log)
        self._settings = parameters.declare(self)
        for warning in parameters.misspelt(self):
            self.get_logger().warning(warning)
        self._frames = LatestFrames()
        self._queries = QueryManager(lambda: run_in_executor(self, self._show_queries))
        self._cameras: dict[str, CameraStream] = {}
        self._pipeline: Pipeline | None = None
        self._transforms = Transforms(self)
        self._part_frames: PartFrames | None = None
        self._worker: Worker | None = None
        self._activity: Activity | None = None
        self._is_finalized = False
        self._query_server = QueryServer(self, self._queries, self._faults)
        self._find_parts = FindPartsServer(
            self,
            self._queries,
            lambda: self._worker is not None,
            lambda: any(camera.depth is not None for camera in self._cameras.values()),
            self._query_server.report_problems,
            self._explain_no_answer,
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on while /clock stands
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self.create_timer(0.5, self._subscribe_latched, clock=steady)
        self._clock_watch = ClockWatch(self, self._faults)
        if hasattr(self, "add_pre_set_parameters_callback"):  # ROS 2 Humble has none
            self.add_pre_set_parameters_callback(parameters.with_typed_lists)
        self.add_on_set_parameters_callback(self._on_parameters)
        answer_invalid_transitions(self)
        self._query_server.set_queries(read_phrases(self._settings.queries))

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, warm it up, create the publishers."""
        try:
            self._settings = settings = parameters.read(self)
            with PeriodicCall(1.0, self._publish_diagnostics):  # the executor is busy here
                self._load(settings)
        except Exception as error:  # rclpy would not report the reason
            reason = describe_error(error)
            hint = "correct the parameter, then configure again"
            self._faults.report(Fault.CONFIGURE, ERROR, reason, hint, kind=reason, lasts=True)
            self._release()
            return FAILURE
        finally:
            self._activity = None
        self._faults.clear(Fault.CONFIGURE)
        # What model and libraries have made stays; a search of it for garbage could hold up a frame.
        gc.collect()
        gc.freeze()
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        try:
            self._frames.clear()
            self._worker = Worker(
                self._frames, self._process_frames, self._faults, self._on_repeated_failure
            )
            self._worker.start()
            for camera in self._cameras.values():
                camera.subscribe()
            result = super().on_activate(state)
            for fault in (Fault.LIFECYCLE, Fault.MEMORY):
                self._faults.clear(fault)
            return result
        except Exception as error:  # rclpy would not report the reason
            self._stop("the node could not be activated")
            reason = f"activate failed: {describe_error(error)}"
            hint = "correct the parameter, then start the node again"
            self._faults.report(Fault.LIFECYCLE, ERROR, reason, hint, lasts=True)
            return FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the worker; the model stays loaded."""
        self._stop("the node was deactivated")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        self._release()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything."""
        self._stop("the node is shutting down")
        self._release()
        self._is_finalized = True
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, so that configure can be tried again."""
        self._stop("the node had an error")
        self._release()
        reason = f"an error in state {state.label}"
        self._faults.report(Fault.LIFECYCLE, ERROR, reason, "configure again", lasts=True)
        return SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before its publishers are removed."""
        self._stop("the node is shutting down")
        self._find_parts.destroy()
        self._queries.close()
        super().destroy_node()

    def _load(self, settings: Settings) -> None:
        name = settings.model or DEFAULT_MODEL
        if name.startswith("~"):
            name = str(expand_home(name))
        self._set_activity(f"loading {name}")
        bridge_problem = find_bridge().problem
        if bridge_problem:
            text = f"{bridge_problem}. Images are converted without it, with equal results"
            self.get_logger().warning(text, once=True)
        self.get_logger().info(f"loading {name}")
        target = None
        if settings.target_frame:
            target = TargetFrame(self._transforms, settings.target_frame)
        self._part_frames = PartFrames(self) if settings.publish_tf else None
        cache = expand_home(settings.engine_cache) if settings.engine_cache else None
        segmenter: PartSegmenter | RecordedSegmenter
        if is_recorded(name):
            segmenter = RecordedSegmenter(name)
            if settings.object_model:
                text = "a recording answers with the objects that it has; object_model is not used"
                self.get_logger().warning(text)
        else:
            segmenter = PartSegmenter.from_pretrained(
                name,
                backend=settings.backend,
                device=settings.device,
                precision=settings.precision,
                calibration=read_calibration(settings.calibration),
                engine_cache=EngineCache(cache, self._on_engine_progress),
                objects=settings.object_source,
                object_options=settings.object_options,
                depth=settings.use_depth,
            )
        self._set_activity(f"warming up {segmenter.runs_on}")
        names = settings.cameras or [""]
        segmenter.warm_up(batch=len(names))
        self._set_activity("encoding the queries")
        self._query_server.announce(self._queries.set_segmenter(segmenter))
        for camera in names:  # one by one: those made before a failure are removed again
            self._cameras[camera] = CameraStream(
                self, camera, self._frames, self._faults, lambda: self._settings
            )
        self._show_queries()
        depth = DepthStage(self._faults, self._transforms, target)
        self._pipeline = Pipeline(segmenter, self._cameras, self._faults, depth)
        for message in (PartMasks(), Parts3D()):
            serialize_message(message)  # the first one of a type loads its type support: 40 ms
        self.get_logger().info(f"{segmenter.name} on {segmenter.runs_on}")

    def _set_activity(self, name: str) -> None:
        """Show a step of configuring in the ``model`` diagnostic."""
        self._end_if_shut_down()
        self._activity = Activity(name)

    def _end_if_shut_down(self) -> None:
        """End a long configure between two of its steps once Ctrl-C or SIGTERM has come."""
        if not self.context.ok():
            raise KeyboardInterrupt

    def _on_engine_progress(self, detail: str) -> None:
        self._end_if_shut_down()
        activity = self._activity
        if activity is None or activity.name != "building engine":
            activity = Activity("building engine")
            self.get_logger().info("an engine is being built; it is kept for the next start")
        self._activity = Activity(activity.name, detail, activity.started)

    def _stop(self, reason: str) -> None:
        for camera in self._cameras.values():
            camera.unsubscribe()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        self._find_parts.stop(reason)

    def _release(self) -> None:
        self._queries.set_segmenter(None)
        for camera in self._cameras.values():
            camera.destroy()
        self._cameras = {}
        self._transforms.close()
        if self._part_frames is not None:
            self._part_frames.close()
        self._pipeline = self._part_frames = None
        gc.unfreeze()  # what belongs to the model is garbage now

    def _show_queries(self) -> None:
        """Make the topics of the active queries."""
        encoded = self._queries.encoded
        for camera in self._cameras.values():
            camera.show_queries(encoded.queries if encoded else ())

    # Frames, in the worker's thread

    def _process_frames(self, frames: list[Frame]) -> None:
        encoded, settings, pipeline = self._queries.encoded, self._settings, self._pipeline
        if encoded is None or pipeline is None:
            return
        for result in pipeline.process(frames, encoded, settings):
            self._publish(result, settings)

    def _publish(self, result: FrameResult, settings: Settings) -> None:
        self._cameras[result.camera].publish(result, settings)
        in_3d = result.in_3d
        if in_3d is not None and self._part_frames is not None:
            self._part_frames.send(in_3d.header, in_3d.parts, settings.tf_prefix, result.camera)
        self._find_parts.on_result(result)

    def _explain_no_answer(self, since: float) -> str:
        """Why no image that arrived since a time on the monotonic clock was answered."""
        worker = self._worker
        if all(camera.received_at < since for camera in self._cameras.values()):
            return "no image arrived in time: see /diagnostics"
        if worker is None or all(camera.usable_at < since for camera in self._cameras.values()):
            return "images arrived, but none could be used: see /diagnostics"
        seconds = worker.seconds_per_frame
        if 2 * seconds < time.monotonic() - since:  # an image that came after the goal had its turn
            return "images arrived, but none was answered: see /diagnostics"
        return (
            f"no image was answered in time; the model takes {seconds:.1f} s: set a longer timeout"
        )

    def _on_repeated_failure(self) -> None:
        run_in_executor(self, self._deactivate)

    def _deactivate(self) -> None:
        if self._worker is not None:  # another request may have deactivated it already
            self.trigger_deactivate()

    # Parameters

    def _on_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        try:
            settings = self._settings.changed(changed)
            check_for_configure(settings, self._settings)
        except OvpsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if any(parameter.name == "queries" for parameter in changed):
            queries = read_phrases(settings.queries)
            refused = self._queries.check(queries)
            if refused and len(refused) == len(queries.queries) + len(queries.refused):
                reason = describe_refused(refused)
                return SetParametersResult(successful=False, reason=reason)
            self._query_server.set_queries(queries)
        self._settings = settings
        return SetParametersResult(successful=True)

    # Diagnostics

    def _log(self, level: bytes, text: str) -> None:
        if not self.context.ok():  # failures caused by the shutdown are not reported
            return
        # one call per level: rclpy allows one level for each place in the code
        if level == ERROR:
            self.get_logger().error(text)
        else:
            self.get_logger().warning(text)

    def _subscribe_latched(self) -> None:
        for camera in list(self._cameras.values()):
            camera.subscribe_latched()

    def _publish_diagnostics(self) -> None:
        try:
            self._diagnostics.publish(self._status())
        except Exception as error:  # a timer that raises ends the node
            self._log(ERROR, f"diagnostics could not be published: {describe_error(error)}")

    def _state_of_model(self) -> tuple[bytes, str]:
        """(level, message) of the ``model`` diagnostic."""
        if self._pipeline:
            return OK, "active" if self._worker else "inactive"
        if self._activity:
            return WARN, str(self._activity)
        if self._is_finalized:
            return WARN, "finalized: the node was shut down; start it again"
        if reason := self._faults.lasting(Fault.CONFIGURE):
            return ERROR, f"no model, since configure failed: {reason}"
        return OK, "no model: configure the node first"

    def _status(self) -> DiagnosticArray:
        name = self.get_fully_qualified_name().lstrip("/")  # a robot may run one node per namespace
        pipeline = self._pipeline
        model = pipeline.segmenter.name if pipeline else ""
        add = functools.partial(status, hardware=model)
        level, state = self._state_of_model()
        queries, counts = self._queries.state()
        array = DiagnosticArray()
        self._clock_watch.check(is_busy=self._activity is not None)
        array.header.stamp = self.get_clock().now().to_msg()
        array.status = [
            add(f"{name}: model", level, state, values={"model": model}),
            add(f"{name}: queries", OK, queries, values=counts),
        ]
        for camera in list(self._cameras.values()):  # configure may be adding one
            camera.check_publishers()
            level, message, values = camera.state()
            values["skipped for newer ones"] = str(self._frames.skipped[camera.name])
            title = f"{name}: images" + (f" {camera.name}" if camera.name else "")
            array.status.append(add(title, level, message, values=values))
        array.status += self._faults.statuses(name, model)
        return array


def autostart(node: OvpsNode) -> None:
    """Configure and activate a new node, unless the parameter ``autostart`` is false."""
    if node.get_parameter("autostart").value and node.trigger_configure() == SUCCESS:
        node.trigger_activate()


def main() -> None:
    """Run the node until it is interrupted."""
    sys.exit(run_node("ovps", "ovps_ros.node", OvpsNode, autostart))


if __name__ == "__main__":
    main()
