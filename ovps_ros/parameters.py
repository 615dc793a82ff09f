"""Every parameter of the node, declared once: its type, default, range, meaning, and when it takes effect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from ovps_core.errors import OvpsError
from ovps_core.pipeline.postprocess.components import SegmentOptions

LIVE, CONFIGURE, START = "at once", "configure", "start"


class ParameterError(OvpsError):
    """A parameter has a value that the node cannot use; the message names it and what is allowed."""


def _parameter(
    default: Any, says: str, *, takes: str = LIVE, low: Any = None, high: Any = None
) -> Any:
    meta = {"says": says, "takes": takes, "low": low, "high": high}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class Settings:
    """The parameters' values; a field is a parameter of the same name."""

    queries: list[str] = _parameter(
        [],
        "What to look for, such as ['knife handle', 'mug rim']; "
        "/diagnostics says which words the model does not know.",
    )
    model: str = _parameter(
        "", "A model's name or file (`ovps models`); empty for the packaged one.", takes=CONFIGURE
    )
    backend: str = _parameter(
        "auto", "What runs the network; auto takes the fastest here.", takes=CONFIGURE
    )
    device: str = _parameter("auto", "auto, cpu or cuda:N.", takes=CONFIGURE)
    precision: str = _parameter("auto", "auto, fp32, bf16, fp16, mixed or int8.", takes=CONFIGURE)
    calibration: str = _parameter(
        "",
        "Folder of pictures such as the robot sees, to calibrate mixed and int8 with; empty for synthetic ones.",
        takes=CONFIGURE,
    )
    engine_cache: str = _parameter(
        "",
        "Folder of built engines; empty for $OVPS_CACHE/engines or ~/.cache/ovps/engines.",
        takes=CONFIGURE,
    )
    cameras: list[str] = _parameter(
        [],
        "Names of several cameras that share the model: NAME/image in, ~/NAME/masks out. Empty for "
        "one camera on image and ~/masks.",
        takes=CONFIGURE,
    )
    score_threshold: float = _parameter(0.5, "Least score of a part.", low=0.0, high=1.0)
    mask_threshold: float = _parameter(0.5, "Least probability of a pixel.", low=0.0, high=1.0)
    max_parts: int = _parameter(20, "Most parts in one image.", low=1, high=65535)
    min_area: int = _parameter(25, "Fewest pixels of a part.", low=0, high=1000000)
    max_rate: float = _parameter(
        0.0, "Most images per second and camera; 0 for all.", low=0.0, high=120.0
    )
    max_age: float = _parameter(
        0.5,
        "Seconds after its stamp at which an image is dropped; 0 takes any stamp.",
        low=0.0,
        high=10.0,
    )
    image_transport: str = _parameter("raw", "raw or compressed.", takes=CONFIGURE)
    use_depth: bool = _parameter(
        False, "Subscribe to depth and camera_info, publish 3D.", takes=CONFIGURE
    )
    sync_slop: float = _parameter(
        0.02, "Most seconds between the stamps of colour and depth.", low=0.0, high=1.0
    )
    depth_scale: float = _parameter(0.001, "Metres of one step of 16UC1 depth.", low=1e-6, high=1.0)
    depth_range: list[float] = _parameter([0.1, 3.0], "Nearest and farthest usable depth, metres.")
    min_depth_coverage: float = _parameter(
        0.2, "Least share of a mask with depth for a part in space.", low=0.0, high=1.0
    )
    target_frame: str = _parameter(
        "", "Frame of ~/parts_3d; empty for the optical frame. Needs tf2_ros.", takes=CONFIGURE
    )
    tf_timeout: float = _parameter(
        0.05, "Longest wait for the transform at the stamp, seconds.", low=0.0, high=2.0
    )
    tracking: bool = _parameter(True, "Give a part the same track_id while it stays in view.")
    track_iou: float = _parameter(
        0.3, "Least overlap with the frame before to be the same part.", low=0.0, high=1.0
    )
    overlay_alpha: float = _parameter(0.5, "Strength of the overlay's tint.", low=0.0, high=1.0)
    publish_tf: bool = _parameter(
        False, "Send a TF frame for every part. Needs tf2_ros.", takes=CONFIGURE
    )
    tf_prefix: str = _parameter("part/", "Start of those frames' names.")
    autostart: bool = _parameter(
        True, "Configure and activate at start; off for a lifecycle manager.", takes=START
    )

    def __post_init__(self) -> None:
        if self.image_transport not in ("raw", "compressed"):
            raise ParameterError(
                f"image_transport is {self.image_transport!r}; expected raw or compressed"
            )
        near_far = list(self.depth_range)
        if len(near_far) != 2 or not 0 <= near_far[0] < near_far[1]:
            raise ParameterError(
                f"depth_range is {near_far}; expected [nearest, farthest] in metres, such as [0.1, 3.0]"
            )
        if len(set(self.cameras)) != len(self.cameras):
            raise ParameterError(f"cameras {self.cameras} repeat a name; expected each once")

    @property
    def options(self) -> SegmentOptions:
        """The thresholds as the segmenter takes them."""
        return SegmentOptions(
            self.score_threshold, self.mask_threshold, self.max_parts, self.min_area
        )

    def changed(self, parameters: Iterable[Parameter]) -> Settings:
        """With some values replaced; names that are not ours are left out.

        Raises:
            ParameterError: a value of no use.
        """
        known = {f.name for f in fields(self)}
        return replace(self, **{p.name: _plain(p.value) for p in parameters if p.name in known})


@dataclass(frozen=True)
class Row:
    """A line of the table of parameters, for the documents."""

    name: str
    type: str
    default: str
    range: str
    takes: str
    says: str


def table() -> list[Row]:
    """Every parameter in words."""
    defaults = Settings()
    return [
        Row(
            f.name,
            Parameter.Type.from_parameter_value(_typed(getattr(defaults, f.name))).name.lower(),
            repr(getattr(defaults, f.name)),
            "" if f.metadata["low"] is None else f"{f.metadata['low']} to {f.metadata['high']}",
            f.metadata["takes"],
            f.metadata["says"],
        )
        for f in fields(Settings)
    ]


def declare(node: Node) -> Settings:
    """Declare all parameters on a node and read what it was started with.

    Raises:
        ParameterError: a value of no use.
    """
    defaults = Settings()
    for f in fields(Settings):
        node.declare_parameter(f.name, _typed(getattr(defaults, f.name)), _descriptor(f.metadata))
    return read(node)


def read(node: Node) -> Settings:
    """The present values.

    Raises:
        ParameterError: a value of no use.
    """
    return Settings(**{f.name: _plain(node.get_parameter(f.name).value) for f in fields(Settings)})


def _descriptor(meta: Any) -> ParameterDescriptor:
    text = meta["says"]
    if meta["takes"] == CONFIGURE:
        text += " Takes effect at the next configure."
    descriptor = ParameterDescriptor(description=text, read_only=meta["takes"] == START)
    low, high = meta["low"], meta["high"]
    if isinstance(low, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif isinstance(low, int):
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor


def _typed(default: Any) -> Any:
    """To rclpy an empty list is one of bytes; ours hold texts, and an empty text is none."""
    return [""] if default == [] else default


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    return [item for item in value if item != ""]
