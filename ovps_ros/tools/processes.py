"""How our programs run: each a process of its own over DDS, ended by Ctrl-C without a traceback."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from ovps_core.errors import OvpsError

N = TypeVar("N", bound=Node)

_PATIENCE = 20.0  # seconds for a program to end by itself
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS 2 (up to ROS 2 Jazzy) and 3 (from Kilted on) look for a profile; neither reads the other's."""


def fastdds_profile() -> Path | None:
    """Our Fast DDS profile: beside the sources, else where the package is installed."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    places = [Path(__file__).parents[2] / "config"]
    places += [Path(prefix) / "share" / "ovps_ros" / "config" for prefix in prefixes if prefix]
    return next((p / "fastdds.xml" for p in places if (p / "fastdds.xml").is_file()), None)


def isolate_ros_domain() -> int:
    """Keep what follows on this machine, in a domain of its own unless one is set; returns the domain.

    To be called before rclpy is initialised.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    profile = fastdds_profile()
    if profile is not None:
        for variable in PROFILE_VARIABLES:
            os.environ.setdefault(variable, str(profile))
    return int(os.environ["ROS_DOMAIN_ID"])


_HELP = """usage: python -m {module} [--ros-args [-p NAME:=VALUE ...] [-r FROM:=TO ...] [--params-file FILE]]

Runs the node until Ctrl-C. Parameters, topics and services are listed in docs/ros_reference.md."""


@contextlib.contextmanager
def rclpy_session() -> Iterator[None]:
    """Initialise rclpy; Ctrl-C or SIGTERM leave the block, always as a KeyboardInterrupt.

    rclpy shuts its context down at a signal, so whatever runs may fail as it likes; and a KeyboardInterrupt that
    is raised while C++ of rclpy calls Python comes out as a RuntimeError.
    """
    told = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    rclpy.init()
    try:
        yield
    except Exception as error:
        if told or not rclpy.ok():
            raise KeyboardInterrupt from error
        raise


def run_node(name: str, make: Callable[[], N], begin: Callable[[N], None] | None = None) -> int:
    """Make a node, begin, spin until Ctrl-C or SIGTERM; either may come at any moment.

    Returns:
        The exit code: 0, or 1 where the node could not be made, with the reason on stderr.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(_HELP.format(module=f"ovps_ros.{'node' if name == 'ovps' else name}"))
        return 0
    node = None
    try:
        with rclpy_session():
            executor = SingleThreadedExecutor()  # cannot be made any more once a signal has come
            node = make()
            if begin is not None:
                begin(node)
            executor.add_node(node)
            executor.spin()
    except KeyboardInterrupt:
        pass
    except (OvpsError, ParameterException) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C is not to break off the end
        if node is not None:
            node.destroy_node()
        with contextlib.suppress(RuntimeError):  # the signal handler may be at it this very moment
            rclpy.try_shutdown()
    return 0


class NodeProcesses:
    """Modules of ours that run while the ``with`` block does.

    with Programs() as programs:
        programs.start("ovps_ros.node", parameters={"model": "ovps-tiny"})
    """

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        module: str,
        parameters: dict[str, object] | None = None,
        arguments: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Run ``python -m module`` with ROS parameters."""
        ros = [
            word for name, value in (parameters or {}).items() for word in _argument(name, value)
        ]
        command = [sys.executable, "-m", module, "--ros-args", *ros, *arguments]
        here = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": search})
        self._running.append(process)
        return process

    def dead(self) -> Iterable[str]:
        """Command lines of programs that ended before they were told to."""
        return [" ".join(p.args) for p in self._running if p.poll() is not None]  # type: ignore[arg-type]

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """End a program as a terminal does; returns its exit code."""
        self._running.remove(process)
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in list(self._running):
            self.stop(process)


def _argument(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, list):
        value = "[" + ", ".join(f"'{item}'" for item in value) + "]"
    elif value == "":
        value = "''"
    return ["-p", f"{name}:={value}"]
