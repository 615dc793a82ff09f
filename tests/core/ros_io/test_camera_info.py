"""A camera_info says where a pixel looks: by K and D for a raw image, by P for a rectified one."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from ovps_core.errors import CameraError, CameraInfoError, DepthFrameError
from ovps_core.pipeline.pose import part_3d
from ovps_core.ros_io.camera_info import camera_intrinsics
from ovps_core.ros_io.codec import MessageEncoder
from ovps_core.ros_io.depth_frames import (
    DepthMessages,
    DepthOptions,
    colour_camera,
    colour_depth,
)
from ovps_core.structures.boxes import Box
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.masks import PartMask
from ovps_core.structures.query import PartQuery

WIDTH, HEIGHT = 640, 480
K = (600.0, 0.0, 319.5, 0.0, 600.0, 239.5, 0.0, 0.0, 1.0)
OTHER_K = (700.0, 0.0, 350.0, 0.0, 700.0, 215.0, 0.0, 0.0, 1.0)
P = (600.0, 0.0, 319.5, 0.0, 0.0, 600.0, 239.5, 0.0, 0.0, 0.0, 1.0, 0.0)
BROWN = (-0.30, 0.10, 0.001, -0.002, 0.0)
COLOUR, DEPTH = "camera_color_optical_frame", "camera_depth_optical_frame"
encoder = MessageEncoder(lambda type_name, /, **fields: SimpleNamespace(**fields))


def info(frame_id: str = COLOUR, **changes: Any) -> Any:
    """A CameraInfo of a rectified camera, with some fields changed."""
    roi = {"x_offset": 0, "y_offset": 0, "width": 0, "height": 0, **changes.pop("roi", {})}
    fields = {
        "header": encoder.header(0, frame_id), "width": WIDTH, "height": HEIGHT,
        "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": K, "r": np.eye(3).ravel(), "p": P,
        "binning_x": 0, "binning_y": 0, "roi": SimpleNamespace(**roi),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


RECTIFIED = CameraIntrinsics(600.0, 600.0, 319.5, 239.5, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("changes", "topic"),
    [
        ({}, "/camera/color/image_raw"),
        ({"p": [0.0] * 12}, "/image"),  # a driver that fills only K
        ({"k": OTHER_K}, "/image_rect"),  # a driver that rectifies by itself
        ({"k": np.eye(3).ravel()}, "/image"),
        ({"k": [0.0] * 9}, "/image"),
        ({"p": [*P[:3], -72.0, *P[4:]]}, "/right/image_rect"),  # the right camera of a stereo pair
        ({"k": OTHER_K, "d": BROWN}, "/camera/image_rect_color"),
        ({"k": OTHER_K, "d": BROWN}, "/camera/infra1/image_rect_raw"),
        ({"r": cv2.Rodrigues(np.array([0.0, 0.1, 0]))[0].ravel()}, "/left/image_rect"),
        ({"d": []}, "/image"),
        ({"d": [1e-9, 0, 0, 0, 0]}, "/image"),  # both readings agree
    ],
)
def test_a_rectified_image_has_the_matrix_p(changes: dict[str, Any], topic: str) -> None:
    assert camera_intrinsics(info(**changes), topic) == RECTIFIED


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", BROWN),
        ("rational_polynomial", (0.5, -0.2, 3e-4, 2e-4, 0.01, 0.8, -0.1, 0.02)),
        ("equidistant", (0.1, 0.01, 0.0, 0.0)),
    ],
)
def test_rays_of_a_raw_image_are_undistorted(model: str, coefficients: tuple[float, ...]) -> None:
    message = info(k=OTHER_K, d=coefficients, distortion_model=model)
    camera = camera_intrinsics(message, "/camera/image_raw")
    points = np.random.default_rng(0).uniform([-0.3, -0.2, 0.6], [0.3, 0.2, 0.9], (500, 3))
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    matrix = np.reshape(OTHER_K, (3, 3))
    zero = np.zeros(3)
    pixels = project(points[:, None], zero, zero, matrix, np.array(coefficients))[0][:, 0]
    rays = camera.rays(pixels[:, 1], pixels[:, 0])
    np.testing.assert_allclose(rays * points[:, 2:], points[:, :2], atol=1e-5)


def test_a_part_in_a_raw_image_is_where_it_is() -> None:
    camera = camera_intrinsics(info(k=OTHER_K, d=BROWN), "/camera/image_raw")
    true = np.array([0.2, 0.15, 0.7])
    corners = true + np.array([[x, y, 0] for x in (-0.05, 0.05) for y in (-0.01, 0.01)])
    outline = camera.project(corners)[[0, 1, 3, 2]].round().astype(np.int32)
    mask = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [outline], 1).astype(bool)
    box = Box(*cv2.boundingRect(mask.astype(np.uint8)))
    part = PartMask(1, PartQuery("handle", "", "handle"), 1.0, box, mask[box.slices])
    depth = np.full((HEIGHT, WIDTH), 0.7, np.float32)
    found = part_3d(part, depth, camera)
    assert found is not None
    np.testing.assert_allclose(found.position, true, atol=0.002)
    wrong = part_3d(part, depth, CameraIntrinsics.from_matrix(OTHER_K, WIDTH, HEIGHT))
    assert wrong is not None and np.linalg.norm(wrong.position - true) > 0.005
    cloud = camera.cloud(depth)
    # ~/points agrees with the pose.
    np.testing.assert_allclose(cloud[mask].mean(axis=0), true, atol=0.002)


@pytest.mark.parametrize(("d", "said"), [(BROWN, "distortion"), ([0.0] * 5, "K and P")])
def test_option_decides_where_the_topic_does_not_say(d: Sequence[float], said: str) -> None:
    message = info(k=OTHER_K, d=d)
    with pytest.raises(CameraInfoError, match=f"{said}.*set image_geometry to raw or rectified"):
        camera_intrinsics(message, "/image")
    assert camera_intrinsics(message, "/image", "rectified") == RECTIFIED
    raw = camera_intrinsics(message, "/camera/image_rect", "raw")
    assert (raw.distortion is not None) == any(d) and raw.fx == 700.0


@pytest.mark.parametrize("coefficients", [[], [0.0] * 4, [0.0] * 5])
def test_a_fisheye_without_coefficients_is_no_pinhole(coefficients: list[float]) -> None:
    message = info(d=coefficients, distortion_model="equidistant")
    camera = camera_intrinsics(message, "/camera/image_raw")
    angle = np.tan(200 / 600)  # r = f theta
    np.testing.assert_allclose(camera.rays([239.5], [519.5]), [[angle, 0]], atol=1e-6)
    assert camera_intrinsics(message, "/camera/image_rect") == RECTIFIED
    with pytest.raises(CameraInfoError, match=r"equidistant .*set image_geometry"):
        camera_intrinsics(message, "/image")
    with pytest.raises(CameraInfoError, match="'kannala_brandt4'; expected one of"):
        camera_intrinsics(info(d=[], distortion_model="kannala_brandt4"), "/image_raw")


def matrix(fx: float, cx: float, cy: float, skew: float = 0.0, last: float = 1.0) -> list[float]:
    return [fx, skew, cx, 0.0, fx, cy, 0.0, 0.0, last]


@pytest.mark.parametrize(
    "centre", [(320, 240), (192, 240), (448, 336), (480, 240), (320, 110), (140, 160)]
)
def test_a_shifted_lens_or_a_crop_is_a_camera(centre: tuple[float, float]) -> None:
    camera = camera_intrinsics(info(k=matrix(600, *centre), p=[0.0] * 12), "/image_raw")
    assert (camera.cx, camera.cy) == centre
    skewed = info(k=matrix(600, *centre, skew=0.5), p=[0.0] * 12)
    assert camera_intrinsics(skewed, "/image_raw") == camera


@pytest.mark.parametrize(
    ("k", "size", "said"),
    [
        (matrix(600, 0, 0), (640, 480), "not filled"),
        (matrix(600, 320, 0), (640, 480), "not filled"),
        ([600.0, 0, 0, 0, 600, 0, 320, 240, 1], (640, 480), "transposed"),
        (matrix(600, 320, 240, last=0.0), (640, 480), "last row"),
        (matrix(600, 320, 240, skew=320.0), (640, 480), "beside the focal lengths"),
        (matrix(300, 160, 120), (640, 480), "far from their centre; .*resolution"),
        (matrix(600, 320, 240), (1280, 960), "far from their centre; .*resolution"),
        (matrix(600, 320, 240), (1280, 720), "far from their centre; .*resolution"),
        (matrix(1400, 960, 540), (1280, 720), "far from their centre; .*resolution"),
    ],
)
def test_a_matrix_that_is_not_of_the_image_is_named(
    k: list[float], size: tuple[int, int], said: str
) -> None:
    message = info(k=k, p=[0.0] * 12, width=size[0], height=size[1])
    for topic in ("/image", "/image_raw", "/image_rect"):
        with pytest.raises(CameraInfoError, match=said):
            camera_intrinsics(message, topic)


def test_a_raw_image_without_distortion_has_the_matrix_k() -> None:
    raw = camera_intrinsics(info(k=OTHER_K), "/camera/image_raw")
    assert raw == CameraIntrinsics.from_matrix(OTHER_K, WIDTH, HEIGHT)


def test_a_region_beside_the_principal_point_is_no_other_resolution() -> None:
    corner = camera_intrinsics(info(roi={"width": 100, "height": 80}))
    assert (corner.cx, corner.cy, corner.width, corner.height) == (319.5, 239.5, 100, 80)


def test_binning_and_region_of_interest_are_applied() -> None:
    big = (1200.0, 0.0, 639.5, 0.0, 1200.0, 479.5, 0.0, 0.0, 1.0)
    message = info(k=big, p=[0.0] * 12, width=1280, height=960, binning_x=2, binning_y=2)
    assert camera_intrinsics(message) == RECTIFIED
    wide = (600.0, 0.0, 959.5, 0.0, 600.0, 539.5, 0.0, 0.0, 1.0)
    roi = {"x_offset": 640, "y_offset": 300, "width": WIDTH, "height": HEIGHT}
    message = info(k=wide, p=[0.0] * 12, width=1920, height=1080, roi=roi)
    assert camera_intrinsics(message) == RECTIFIED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": [0.0] * 9, "p": [0.0] * 12}, "calibrate the camera"),
        ({"k": (0.9, 0.0, 0.5, 0.0, 1.2, 0.5, 0.0, 0.0, 1.0), "p": [0.0] * 12}, "no lens sees"),
        ({"k": [float("nan")] * 9}, "not finite"),
        ({"d": BROWN, "k": [0.0] * 9}, "K of its camera_info is not a camera matrix"),
        ({"d": (0.1, 0.2), "k": OTHER_K}, "finite numbers"),
        ({"d": (0.1, 0.2, 0, 0), "distortion_model": "ftheta"}, "'ftheta'; expected one of"),
        ({"r": cv2.Rodrigues(np.array([0.0, 0.1, 0]))[0].ravel()}, "rotation R"),
        ({"width": 0, "height": 0}, "0x0"),
        ({"width": 320, "height": 240}, "of another resolution"),
        (
            {"k": (1800.0, 0.0, 959.5, 0.0, 1800.0, 539.5, 0.0, 0.0, 1.0), "p": [0.0] * 12},
            "resolution",
        ),
        (
            {"k": (600.0, 0.0, -3.0, 0.0, 600.0, 239.5, 0.0, 0.0, 1.0), "p": [0.0] * 12},
            "resolution",
        ),
        ({"roi": {"x_offset": 640, "y_offset": 300, "width": 640, "height": 480}}, "inside it"),
    ],
)
def test_a_camera_info_that_cannot_be_used_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CameraInfoError, match=said):
        camera_intrinsics(info(**changes), "/camera/image_raw")


def messages(depth: np.ndarray, depth_frame: str, **others: Any) -> DepthMessages:
    message = encoder.image(depth, encoder.header(0, depth_frame))
    return DepthMessages(message, others.pop("info", info()), **others)


FLAT = np.full((HEIGHT, WIDTH), 700, np.uint16)
OWN = encoder.header(0, COLOUR)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(info(DEPTH), "the frame 'camera_depth"), (info(width=640, height=400), "640x400, colour")],
)
def test_camera_info_of_another_camera_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(CameraInfoError, match=said):
        colour_camera(messages(FLAT, COLOUR, info=wrong), OWN, HEIGHT, WIDTH, DepthOptions())


def test_depth_of_another_frame_is_refused_without_its_camera_info_and_transform() -> None:
    options = DepthOptions()
    for given in (
        messages(FLAT, DEPTH),
        messages(FLAT, DEPTH, depth_info=info(DEPTH)),
        messages(FLAT, DEPTH, depth_info=info("somewhere")),
    ):
        with pytest.raises(DepthFrameError):
            colour_depth(given, OWN, RECTIFIED, options, lambda target, source: None)
    trusting = DepthOptions(check_frames=False)
    depth = colour_depth(messages(FLAT, DEPTH), OWN, RECTIFIED, trusting, lambda *_: None)
    assert depth == pytest.approx(0.7)
    half = messages(FLAT[::2, ::2].copy(), COLOUR)
    with pytest.raises(CameraError, match="320x240, colour of 640x480"):
        colour_depth(half, OWN, RECTIFIED, options, lambda *_: None)


def test_a_depth_camera_of_unknown_geometry_is_named_with_what_helps() -> None:
    bent = messages(FLAT, DEPTH, depth_info=info(DEPTH, d=BROWN, k=OTHER_K), depth_topic="/depth")
    with pytest.raises(CameraInfoError, match=r"camera_info of the depth camera: .* remap depth"):
        colour_depth(bent, OWN, RECTIFIED, DepthOptions(), lambda *_: np.eye(4))
    elsewhere = messages(FLAT, DEPTH, depth_info=info("somewhere"))
    trusting = DepthOptions(check_frames=False)
    assert np.isfinite(colour_depth(elsewhere, OWN, RECTIFIED, trusting, lambda *_: None)).any()


@pytest.mark.parametrize("turn", [0.0, 0.02])
def test_depth_of_another_camera_is_registered(turn: float) -> None:
    """A box 0.6 m away before a wall at 0.9 m, seen by a depth camera 15 mm to the left."""
    camera = info(DEPTH, k=(385.0, 0, 320.0, 0, 385.0, 240.0, 0, 0, 1), p=[0.0] * 12)
    place = np.eye(4)
    place[:3, :3] = cv2.Rodrigues(np.array([0.0, turn, 0.0]))[0]
    place[:3, 3] = -0.015, 0.0, 0.002
    seen = np.full((HEIGHT, WIDTH), 900, np.uint16)
    seen[200:280, 280:380] = 600
    given = messages(seen, DEPTH, depth_info=camera)
    depth = colour_depth(given, OWN, RECTIFIED, DepthOptions(), lambda target, source: place)
    points = np.array([[(c - 320) / 385 * 0.6, (r - 240) / 385 * 0.6, 0.6]
                       for r, c in ((202, 282), (240, 330), (278, 378))])  # fmt: skip
    moved = points @ place[:3, :3].T + place[:3, 3]
    columns, rows = RECTIFIED.project(moved).round().astype(int).T
    np.testing.assert_allclose(depth[rows, columns], moved[:, 2], atol=0.003)
    assert np.isfinite(depth[100:380, 150:500]).mean() > 0.95  # no holes, but the box's shadow
