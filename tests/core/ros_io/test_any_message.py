"""Any image or camera_info is read rightly or refused with an error of ours: a search for exceptions to this."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovps_core.errors import CameraError, ImageError, OvpsError
from ovps_core.ros_io.camera_info import IMAGE_GEOMETRIES, camera_intrinsics
from ovps_core.ros_io.codec import MessageEncoder, image_depth, image_rgb
from ovps_core.ros_io.depth_frames import (
    DepthMessages,
    DepthOptions,
    colour_camera,
    colour_depth,
)
from ovps_core.ros_io.encodings import COLOUR_ENCODINGS, DEPTH_ENCODINGS
from ovps_core.structures.camera import DISTORTION_MODELS

encoder = MessageEncoder(lambda type_name, /, **fields: SimpleNamespace(**fields))
bounded = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FRAMES = st.sampled_from(["", "colour", "/colour", "depth"])
PICTURES = [
    cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, shape).astype(kind))[1].tobytes()
    for suffix in (".png", ".jpg", ".tiff", ".webp", ".bmp")
    for shape, kind in (((6, 8, 3), np.uint8), ((6, 8), np.uint8), ((6, 8), np.uint16))
    if not (suffix in (".jpg", ".webp", ".bmp") and kind is np.uint16)
]


@st.composite
def raw_images(draw: Callable[[Any], Any]) -> Any:
    """Images whose fields fit together, mostly, but for one that was changed."""
    encoding = draw(st.sampled_from([*COLOUR_ENCODINGS, *DEPTH_ENCODINGS, "", "rgb7", "8UC4"]))
    height, width = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    step = draw(st.sampled_from([0, 8 * width, width * draw(st.integers(1, 8))]))
    count = draw(st.sampled_from([step * height, max(0, step * height - 1), 64]))
    data = draw(st.binary(min_size=count, max_size=count))
    return SimpleNamespace(
        header=encoder.header(0, draw(FRAMES)), height=height, width=width, encoding=encoding,
        step=step, is_bigendian=draw(st.integers(0, 1)), data=data,
    )  # fmt: skip


@st.composite
def compressed_images(draw: Callable[[Any], Any]) -> Any:
    """Pictures with a few bytes changed or cut, under any format."""
    data = bytearray(draw(st.sampled_from([*PICTURES, b"", bytes(30)])))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    head = bytes(draw(st.binary(min_size=12, max_size=12)))
    encoding = draw(st.sampled_from(["rgb8", "bgr8", "mono16", "bayer_rggb8", "16UC1", "32FC1"]))
    codec = draw(st.sampled_from(
        ["jpeg compressed bgr8", "tiff compressed ", "compressedDepth png", "compressedDepth rvl", ""]
    ))  # fmt: skip
    content = head + bytes(data) if "Depth" in codec else bytes(data)
    return SimpleNamespace(
        header=encoder.header(0, draw(FRAMES)), format=f"{encoding}; {codec}", data=content
    )


numbers = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 600.0, 319.5, 1e-9, 1e9, float("nan"), float("inf")]),
    st.floats(-1000, 1000),
)


def _matrix(size: int) -> Any:
    good = {9: [600, 0, 4, 0, 600, 3, 0, 0, 1], 12: [600, 0, 4, 0, 0, 600, 3, 0, 0, 0, 1, 0]}[size]
    own = st.lists(numbers, min_size=size, max_size=size)
    return st.one_of(st.just([float(v) for v in good]), st.just([0.0] * size), own)


@st.composite
def camera_infos(draw: Callable[[Any], Any]) -> Any:
    size = st.sampled_from([0, 6, 8, 640])
    roi = {name: draw(size) for name in ("x_offset", "y_offset", "width", "height")}
    if draw(st.booleans()):
        roi = dict.fromkeys(roi, 0)
    return SimpleNamespace(
        header=encoder.header(0, draw(FRAMES)), width=draw(size), height=draw(size),
        distortion_model=draw(st.sampled_from([*DISTORTION_MODELS, "", "ftheta"])),
        d=draw(st.one_of(st.just([0.0] * 5), st.lists(st.floats(-3, 3), max_size=14))),
        k=draw(_matrix(9)), p=draw(_matrix(12)),
        r=draw(st.one_of(st.just(np.eye(3).ravel().tolist()), _matrix(9))),
        binning_x=draw(st.integers(0, 3)), binning_y=draw(st.integers(0, 3)),
        roi=SimpleNamespace(**roi),
    )  # fmt: skip


@bounded
@given(raw_images() | compressed_images())
def test_any_colour_image_is_rgb_or_refused(message: Any) -> None:
    try:
        rgb = image_rgb(message)
    except ImageError as error:
        assert len(str(error)) > 20
        return
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size
    if hasattr(message, "encoding"):
        assert rgb.shape[:2] == (message.height, message.width)
        assert message.encoding in COLOUR_ENCODINGS
    else:
        assert "compressedDepth" not in message.format


@bounded
@given(raw_images() | compressed_images())
def test_any_depth_image_is_metres_or_refused(message: Any) -> None:
    try:
        depth = image_depth(message, 0.001)
    except ImageError as error:
        assert len(str(error)) > 20
        return
    assert depth.dtype == np.float32 and depth.ndim == 2 and depth.size
    assert not np.isinf(depth).any() and not (depth <= 0).any()  # REP 118: NaN, if not measured
    encoding = getattr(message, "encoding", "") or message.format
    assert encoding in DEPTH_ENCODINGS or "compressedDepth" in encoding


@bounded
@given(
    camera_infos(),
    st.sampled_from(["/image", "/image_raw", "/image_rect"]),
    st.sampled_from(IMAGE_GEOMETRIES),
)
def test_any_camera_info_is_a_camera_or_refused(message: Any, topic: str, geometry: str) -> None:
    try:
        camera = camera_intrinsics(message, topic, geometry)
    except CameraError as error:
        assert len(str(error)) > 20
        return
    assert camera.width > 0 and camera.height > 0
    assert min(camera.fx, camera.fy) > 0 and np.isfinite([camera.cx, camera.cy]).all()
    if any(message.d) and geometry == "auto" and topic == "/image_raw":
        assert camera.distortion is not None
    if camera.width * camera.height < 100:
        cloud = camera.cloud(np.ones((camera.height, camera.width), np.float32))
        assert not np.isinf(cloud).any()
    rays = camera.rays([0.0, 3.0], [0.0, 4.0])  # a ray leads back to its pixel, or there is none
    ok = np.isfinite(rays).all(axis=1)
    pixels = camera.project(np.column_stack([rays, np.ones(2)])[ok])
    np.testing.assert_allclose(pixels, np.array([[0.0, 0.0], [4.0, 3.0]])[ok], atol=0.5)


@bounded
@given(raw_images(), camera_infos(), st.none() | camera_infos(), FRAMES)
def test_depth_of_an_image(depth: Any, info: Any, depth_info: Any, frame: str) -> None:
    messages = DepthMessages(depth, info, depth_info, "/image_raw", "/depth/image_rect_raw")
    own = encoder.header(0, frame)
    try:
        camera = colour_camera(messages, own, 6, 8, DepthOptions())
        metres = colour_depth(messages, own, camera, DepthOptions(), lambda *_: None)
    except OvpsError:
        return
    assert metres.shape == (6, 8) == (camera.height, camera.width)
    for other in (depth, info):
        names = {frame.lstrip("/"), other.header.frame_id.lstrip("/")}
        assert len(names - {""}) < 2
