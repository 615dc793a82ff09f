"""``python -m ovps_ros.tools.reference > docs/ros_reference.md``: tables of topics and parameters."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from ovps_core.ros_io.encodings import COLOUR_ENCODINGS, DEPTH_ENCODINGS
from ovps_ros.parameters import table
from ovps_ros.publishers import TOPICS, TOPICS_3D

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
        "best effort, 1",
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
    (
        "/tf",
        "tf2_msgs/TFMessage",
        "reliable, 100",
        "publish_tf; tf_prefix + camera of several + part + track",
    ),
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

FAULTS = [
    ("images", "no image for 2 s: which publishers there are and what QoS they offer"),
    ("image", "an encoding, size or number of bytes that cannot be read; the frame is dropped"),
    ("stamp", "zero, too old or in the future; the frame is dropped"),
    ("query", "words that are no query; the queries before stay"),
    ("configure", "no model, a damaged one, a parameter of no use; the node stays unconfigured"),
    ("depth", "missing, of another size or unreadable; masks still go out, ~/parts_3d does not"),
    ("depth coverage", "parts left out of ~/parts_3d: too few of their pixels have depth"),
    ("transform", "none at the image's stamp; nothing goes out under a wrong frame"),
    ("memory", "the device's is full; after three frames in a row the node deactivates"),
    ("frame", "anything else that went wrong with one frame; the next one is tried"),
    ("lifecycle", "an error in a transition; the node is unconfigured again"),
]
"""What /diagnostics may name; ``model``, ``queries`` and ``images`` are always there."""


def reference() -> str:
    """The whole page."""
    outputs = [
        (f"~/{name}", _type_name(kind), f"reliable, {depth}", when)
        for name, kind, depth, when in TOPICS + TOPICS_3D
    ]
    rows = [(f"`{r.name}`", r.type, f"`{r.default}`", r.range, r.takes, r.says) for r in table()]
    sections = [
        "# The node's topics, services and parameters",
        "Made from the code by `python -m ovps_ros.tools.reference > docs/ros_reference.md`.",
        "## Subscribed",
        _table(_INPUTS, ["topic", "type", "QoS", ""]),
        f"Colour encodings: {', '.join(COLOUR_ENCODINGS)}. Depth: {', '.join(DEPTH_ENCODINGS)}. With "
        "`cameras: [left, right]` the inputs are `left/image`, ..., the outputs `~/left/masks`, ....",
        "## Published",
        _table(outputs + _OTHER_OUTPUTS, ["topic", "type", "QoS", "when"]),
        "QoS of images and outputs can be overridden: `qos_overrides.<topic>.subscription.reliability`.",
        "## Services and the action",
        _table(_SERVICES, ["name", "type", ""]),
        "## Diagnostics",
        "`model`, `queries` and `images` are always there; the others name what is wrong, with a hint. "
        "While a model loads, `model` says what is done and for how long: `building engine: "
        "encode, ...: 3 of 10, 42 s so far`.",
        _table([(f"`{name}`", says) for name, says in FAULTS], ["name", ""]),
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
