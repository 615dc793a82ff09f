"""``python -m ovps_ros.reference > docs/ros_reference.md``: tables of topics and parameters, from the code."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from ovps_core.encodings import COLOUR_ENCODINGS, DEPTH_ENCODINGS
from ovps_ros.outputs import TOPICS, TOPICS_3D
from ovps_ros.parameters import table

_INPUTS = [
    (
        "image",
        "sensor_msgs/Image",
        "best effort, 1",
        "CompressedImage on image/compressed, see image_transport",
    ),
    ("depth", "sensor_msgs/Image", "best effort, 5", "with use_depth; aligned to colour"),
    (
        "camera_info",
        "sensor_msgs/CameraInfo",
        "best effort, 5",
        "with use_depth; of the colour image",
    ),
    (
        "~/query",
        "std_msgs/String",
        "reliable, 10",
        "replaces what is looked for; comma or newline between",
    ),
]
_OTHER_OUTPUTS = [
    (
        "~/queries",
        "std_msgs/String",
        "reliable, transient local, 1",
        "the queries change; one a line",
    ),
    ("/diagnostics", "diagnostic_msgs/DiagnosticArray", "reliable, 1", "once a second"),
    ("/tf", "tf2_msgs/TFMessage", "reliable, 100", "publish_tf; tf_prefix + part + track"),
]
_SERVICES = [
    (
        "~/set_queries",
        "ovps_ros/srv/SetQueries",
        "replace or append; answers when the words are encoded",
    ),
    (
        "~/find_parts (action)",
        "ovps_ros/action/FindParts",
        "wait until all parts are seen, answer once",
    ),
    ("~/change_state, ~/get_state", "lifecycle_msgs", "configure, activate, deactivate, cleanup"),
]


def reference() -> str:
    """The whole page."""
    outputs = [
        (f"~/{name}", _type_name(kind), f"reliable, {depth}", when)
        for name, kind, depth, when in TOPICS + TOPICS_3D
    ]
    rows = [(f"`{r.name}`", r.type, f"`{r.default}`", r.range, r.takes, r.says) for r in table()]
    sections = [
        "# The node's topics, services and parameters",
        "Made from the code by `python -m ovps_ros.reference > docs/ros_reference.md`.",
        "## Subscribed",
        _table(_INPUTS, ["topic", "type", "QoS", ""]),
        f"Colour encodings: {', '.join(COLOUR_ENCODINGS)}. Depth: {', '.join(DEPTH_ENCODINGS)}. With "
        "`cameras: [left, right]` the inputs are `left/image`, ..., the outputs `~/left/masks`, ....",
        "## Published",
        _table(outputs + _OTHER_OUTPUTS, ["topic", "type", "QoS", "when"]),
        "QoS of images and outputs can be overridden: `qos_overrides.<topic>.subscription.reliability`.",
        "## Services and the action",
        _table(_SERVICES, ["name", "type", ""]),
        "## Parameters",
        _table(rows, ["parameter", "type", "default", "range", "takes effect", ""]),
    ]
    return "\n\n".join(sections) + "\n"


def _type_name(kind: type) -> str:
    return f"{kind.__module__.split('.')[0]}/{kind.__name__}"


def _table(rows: Sequence[tuple[str, ...]], headers: list[str]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    print(reference(), end="")
