"""Parameters of the node, each declared once with its type, default, range and description."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ovps_core.errors import OvpsError
from ovps_core.objects.object_parts import ObjectOptions
from ovps_core.objects.object_sources import OWN
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.ros_io.camera_info import IMAGE_GEOMETRIES
from ovps_core.ros_io.depth_frames import STAMP_SLOP_S, DepthOptions

OBJECTS_OF_TOPIC = "topic"
"""Value of ``object_model`` for objects that another node finds."""
_CAMERA = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
IMMEDIATELY, AT_CONFIGURE, AT_START = "immediately", "at configure", "at start"
"""Time at which a changed parameter takes effect."""


class ParameterError(OvpsError):
    """A parameter has an invalid value; the message names the parameter and the allowed values."""


def _parameter(
    default: Any,
    description: str,
    *,
    takes_effect: str = IMMEDIATELY,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    metadata = {
        "description": description,
        "takes_effect": takes_effect,
        "low": low,
        "high": high,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Values of all parameters; each field is a parameter of the same name."""

    queries: list[str] = _parameter(
        [],
        "Parts to look for, such as ['knife handle', 'mug rim']. "
        "The `query` diagnostic lists phrases that the model cannot answer.",
    )
    model: str = _parameter(
        "",
        "Name of a model (see `ovps models`), a file or a folder; empty for the packaged model; recorded:PATH "
        "answers from a recording of PartMasks.",
        takes_effect=AT_CONFIGURE,
    )
    backend: str = _parameter(
        "auto",
        "Inference backend; auto selects the fastest one available.",
        takes_effect=AT_CONFIGURE,
    )
    device: str = _parameter("auto", "Device: auto, cpu or cuda:N.", takes_effect=AT_CONFIGURE)
    precision: str = _parameter(
        "auto", "Precision: auto, fp32, bf16, fp16, mixed or int8.", takes_effect=AT_CONFIGURE
    )
    calibration: str = _parameter(
        "",
        "Folder with typical camera images for the calibration of mixed and int8; empty for synthetic images.",
        takes_effect=AT_CONFIGURE,
    )
    engine_cache: str = _parameter(
        "",
        "Folder for built engines; empty for $OVPS_CACHE/engines or ~/.cache/ovps/engines.",
        takes_effect=AT_CONFIGURE,
    )
    cameras: list[str] = _parameter(
        [],
        "Names of cameras that share the model, with input NAME/image and output ~/NAME/masks. Empty for "
        "one camera with input image and output ~/masks.",
        takes_effect=AT_CONFIGURE,
    )
    object_model: str = _parameter(
        "",
        "Find objects first, so that every part belongs to one: own for the model's own instances, topic for "
        "those of the topic `objects`, or name, file or folder of an object model. Empty for parts alone.",
        takes_effect=AT_CONFIGURE,
    )
    max_objects: int = _parameter(
        ObjectOptions.max_objects,
        "Maximum number of objects per image; each costs one pass of the model.",
        takes_effect=AT_CONFIGURE,
        low=1,
        high=255,
    )
    object_crops: bool = _parameter(
        ObjectOptions.crops,
        "Look at the crop of each object at full resolution; false looks at the whole image once, which is faster "
        "and misses small parts.",
        takes_effect=AT_CONFIGURE,
    )
    object_timeout: float = _parameter(
        0.2,
        "Maximum wait for the objects of an image, with object_model topic, seconds.",
        low=0.0,
        high=2.0,
    )
    score_threshold: float = _parameter(
        SegmentOptions.score_threshold, "Minimum score of a part.", low=0.0, high=1.0
    )
    mask_threshold: float = _parameter(
        SegmentOptions.mask_threshold,
        "Minimum probability of a pixel of a part.",
        low=0.0,
        high=1.0,
    )
    max_parts: int = _parameter(
        SegmentOptions.max_parts, "Maximum number of parts per image.", low=1, high=65535
    )
    min_area: int = _parameter(
        SegmentOptions.min_area, "Minimum area of a part, pixels.", low=0, high=1000000
    )
    max_rate: float = _parameter(
        0.0, "Maximum number of images per second and camera; 0 for no limit.", low=0.0, high=120.0
    )
    max_age: float = _parameter(
        0.5,
        "Maximum age of an image by its stamp, seconds; older ones are dropped. 0 accepts every stamp.",
        low=0.0,
        high=10.0,
    )
    image_transport: str = _parameter(
        "raw", "Transport of colour images: raw or compressed.", takes_effect=AT_CONFIGURE
    )
    use_depth: bool = _parameter(
        False,
        "Subscribe to depth and camera_info, and publish parts in 3D.",
        takes_effect=AT_CONFIGURE,
    )
    depth_transport: str = _parameter(
        "raw", "Transport of depth images: raw or compressedDepth.", takes_effect=AT_CONFIGURE
    )
    image_geometry: str = _parameter(
        DepthOptions.image_geometry,
        "Whether colour images are raw (distorted) or rectified; auto asks the topic's name. "
        "Poses need it. See docs/robot.md.",
    )
    check_frames: bool = _parameter(
        DepthOptions.check_frames,
        "Compare the frame_id of colour, depth and camera_info. Set to false only if a driver sends aligned depth "
        "with another frame_id.",
    )
    sync_slop: float = _parameter(
        STAMP_SLOP_S,
        "Maximum difference of the stamps of colour and depth, seconds.",
        low=0.0,
        high=1.0,
    )
    depth_scale: float = _parameter(
        DepthOptions.depth_scale, "Metres of one step of 16UC1 depth.", low=1e-6, high=1.0
    )
    depth_range: list[float] = _parameter(
        list(DepthOptions.depth_range), "Minimum and maximum usable depth, metres."
    )
    min_depth_coverage: float = _parameter(
        DepthOptions.min_coverage,
        "Minimum share of a mask's pixels with depth for a part in 3D.",
        low=0.0,
        high=1.0,
    )
    target_frame: str = _parameter(
        "",
        "Frame of ~/parts_3d; empty for the camera's optical frame. Needs tf2_ros.",
        takes_effect=AT_CONFIGURE,
    )
    tf_timeout: float = _parameter(
        0.05, "Maximum wait for the transform at the image's stamp, seconds.", low=0.0, high=2.0
    )
    tracking: bool = _parameter(
        True, "Track parts: a part keeps its track_id while it stays in view."
    )
    track_iou: float = _parameter(
        0.3,
        "Minimum overlap (IoU) with a part of the previous frame to keep its track_id.",
        low=0.0,
        high=1.0,
    )
    overlay_alpha: float = _parameter(
        0.5, "Opacity of the masks in the overlay.", low=0.0, high=1.0
    )
    publish_tf: bool = _parameter(
        False,
        "Broadcast a TF frame for every part in 3D. Needs tf2_ros.",
        takes_effect=AT_CONFIGURE,
    )
    tf_prefix: str = _parameter("part/", "Prefix of the names of these frames.")
    autostart: bool = _parameter(
        True,
        "Configure and activate at start; set to false for a lifecycle manager.",
        takes_effect=AT_START,
    )

    def __post_init__(self) -> None:
        """Check what ranges of single parameters cannot express."""
        if self.image_transport not in ("raw", "compressed"):
            raise ParameterError(
                f"image_transport is {self.image_transport!r}; expected raw or compressed"
            )
        if self.depth_transport not in ("raw", "compressedDepth"):
            raise ParameterError(
                f"depth_transport is {self.depth_transport!r}; expected raw or compressedDepth"
            )
        if self.image_geometry not in IMAGE_GEOMETRIES:
            raise ParameterError(
                f"image_geometry is {self.image_geometry!r}; expected {', '.join(IMAGE_GEOMETRIES)}"
            )
        near_far = list(self.depth_range)
        if len(near_far) != 2 or not 0 <= near_far[0] < near_far[1]:
            raise ParameterError(
                f"depth_range is {near_far}; expected [minimum, maximum] in metres, such as [0.1, 3.0]"
            )
        if len(set(self.cameras)) != len(self.cameras):
            raise ParameterError(f"cameras {self.cameras} repeat a name; expected different names")
        for name in filter(None, self.cameras):
            if not _CAMERA.fullmatch(name):
                raise ParameterError(
                    f"cameras has {name!r}; expected the names of topics, such as left or arm/wrist: letters, "
                    "digits and _, no space and no slash at the ends"
                )

    @property
    def options(self) -> SegmentOptions:
        """Thresholds for the segmenter."""
        return SegmentOptions(
            self.score_threshold, self.mask_threshold, self.max_parts, self.min_area
        )

    @property
    def object_options(self) -> ObjectOptions:
        """Options of the search within objects."""
        return ObjectOptions(crops=self.object_crops, max_objects=self.max_objects)

    @property
    def object_source(self) -> str:
        """Source of objects for the segmenter; those of a topic are given with each image."""
        return OWN if self.object_model == OBJECTS_OF_TOPIC else self.object_model

    @property
    def depth_options(self) -> DepthOptions:
        """Options for depth."""
        return DepthOptions(
            self.depth_scale,
            (self.depth_range[0], self.depth_range[1]),
            self.min_depth_coverage,
            self.image_geometry,
            self.check_frames,
        )

    def changed(self, parameters: Iterable[Parameter]) -> Settings:
        """Copy with some values replaced; other nodes' parameters are ignored.

        Raises:
            ParameterError: a value is invalid.
        """
        known = {f.name for f in fields(self)}
        return replace(self, **{p.name: _plain(p.value) for p in parameters if p.name in known})


@dataclass(frozen=True)
class ParameterRow:
    """Row of the table of parameters in the reference page."""

    name: str
    type_name: str
    default: str
    limits: str
    takes_effect: str
    description: str


def table() -> list[ParameterRow]:
    """List all parameters for the reference page."""
    defaults = Settings()
    return [
        ParameterRow(
            f.name,
            Parameter.Type.from_parameter_value(_typed(getattr(defaults, f.name))).name.lower(),
            repr(getattr(defaults, f.name)),
            "" if f.metadata["low"] is None else f"{f.metadata['low']} to {f.metadata['high']}",
            f.metadata["takes_effect"],
            f.metadata["description"],
        )
        for f in fields(Settings)
    ]


def declare(node: Node) -> Settings:
    """Declare all parameters on a node and read the values it was started with.

    Raises:
        ParameterError: a value is invalid.
    """
    defaults = Settings()
    for f in fields(Settings):
        default = _typed(getattr(defaults, f.name))
        node.declare_parameter(f.name, default, _descriptor(f.metadata))
        if _is_unset(node, f.name):
            if default != [""]:
                raise ParameterError(
                    f"{f.name} is an empty list; expected a value like {default!r}"
                )
            node.set_parameters([Parameter(f.name, value=default)])
    return read(node)


def with_typed_lists(changed: list[Parameter]) -> list[Parameter]:
    """The same values, with a type for an empty list of texts: "[]" on a command line is a list of bytes."""
    defaults = Settings()
    return [
        Parameter(each.name, value=[""])
        if each.type_.name.endswith("ARRAY")
        and not each.value
        and getattr(defaults, each.name, 0) == []
        else each
        for each in changed
    ]


def misspelt(node: Node) -> list[str]:
    """Warnings for values that the node was started with under a name close to that of a parameter.

    Other unknown names may be meant for other nodes that share the file.
    """
    known = [f.name for f in fields(Settings)]
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public name for it
    warnings = []
    for name in sorted(set(given) - set(known)):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if close:
            warnings.append(
                f"no parameter is called {name!r}; its value is not used. Is {close[0]!r} meant?"
            )
    return warnings


def _is_unset(node: Node, name: str) -> bool:
    """Return True for an empty list at start ("queries: []"), of which rcl gives no type and no value."""
    try:
        node.get_parameter(name)
    except ParameterUninitializedException:
        return True
    return False


def read(node: Node) -> Settings:
    """Read the current values of all parameters.

    Raises:
        ParameterError: a value is invalid.
    """
    return Settings(**{f.name: _plain(node.get_parameter(f.name).value) for f in fields(Settings)})


def _descriptor(metadata: Mapping[str, Any]) -> ParameterDescriptor:
    text, takes_effect = metadata["description"], metadata["takes_effect"]
    if takes_effect == AT_CONFIGURE:
        text += " Takes effect at the next configure."
    descriptor = ParameterDescriptor(description=text, read_only=takes_effect == AT_START)
    low, high = metadata["low"], metadata["high"]
    if isinstance(low, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif isinstance(low, int):
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor


def _typed(default: Any) -> Any:
    """Default with a type for rclpy, which takes an empty list for a list of bytes; see :func:`_plain`."""
    return [""] if default == [] else default


def _plain(value: Any) -> Any:
    """Value of a parameter without empty strings in lists."""
    if isinstance(value, str | bool | int | float):
        return value
    return [item for item in value if item != ""]
