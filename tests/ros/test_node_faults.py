"""Invalid input is named in the diagnostics, and the node answers the next valid image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import NODE_STARTS, Robot
from lifecycle_msgs.srv import GetState
from ovps_ros.msg import PartQuery, Parts3D
from ovps_ros.srv import SetQueries
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ovps_ros.messages import message_encoder
from ovps_ros.tools.processes import NodeProcesses

pytestmark = pytest.mark.ros
PICTURE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
FLAT = np.full((240, 320), 0.8, np.float32)


def _image(header: Header, **fields: object) -> Image:
    message = message_encoder.image(PICTURE, header)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"encoding": "rgb9"}, "'rgb9'"),
        ({"encoding": "32FC1"}, "'32FC1'"),
        ({"data": bytes(100)}, "100 bytes"),
        ({"height": 0, "width": 0, "step": 0, "data": b""}, "0x0"),
        ({"height": 6000, "width": 8000, "step": 24000}, "8000x6000"),
    ],
)
def test_unreadable_image_is_named(robot: Robot, fields: dict[str, object], words: str) -> None:
    robot.ask("knife handle")
    for _ in range(3):
        robot.images.publish(_image(robot.header(), **fields))
        robot.rest(0.1)
    robot.fault("image", words, hint="pixel format")
    assert robot.answer(PICTURE)


@pytest.mark.parametrize(
    ("offset", "words"), [(-60.0, "s old"), (60.0, "in the future"), (None, "stamp is zero")]
)
def test_wrong_stamp_is_dropped_and_named(robot: Robot, offset: float | None, words: str) -> None:
    robot.ask("knife handle")
    headers = []
    for _ in range(3):
        headers.append(Header(frame_id="camera") if offset is None else robot.header(offset))
        robot.images.publish(_image(headers[-1]))
        robot.rest(0.1)
    robot.fault("stamp", words, hint="use_sim_time")
    assert not [masks for masks in robot.masks if masks.header in headers]
    assert robot.answer(PICTURE)


@pytest.mark.parametrize(
    ("depth", "name", "words"),
    [
        (np.full((120, 160), 0.8, np.float32), "depth", "depth of 160x120"),
        (np.full((240, 320), np.nan, np.float32), "depth coverage", "parts have depth on less"),
        (PICTURE[..., 0].copy(), "depth", "not a depth image"),
    ],
)
def test_bad_depth_is_named_and_masks_still_come(
    robot: Robot, depth: np.ndarray, name: str, words: str
) -> None:
    robot.ask("knife handle")
    assert len(robot.answer(PICTURE, depth).parts) > 0
    assert robot.fault(name, words)["hint"]


def test_sixteen_bit_depth_is_read_as_millimetres(robot: Robot) -> None:
    spaces = robot.listen(Parts3D, "/ovps/parts_3d")
    robot.ask("knife handle")
    while not spaces:
        robot.answer(PICTURE, np.full((240, 320), 800, np.uint16))
    assert spaces[-1].parts[0].pose.position.z == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("text", ["x" * 10_000, "knife\x01handle", "\N{PILE OF POO}", ",,,"])
def test_unusable_words_keep_the_queries_before(robot: Robot, text: str) -> None:
    robot.ask("knife handle")
    robot.say(text)
    robot.fault("query", "", hint="queries before stay")
    assert [q.text for q in robot.answer(PICTURE).queries] == ["knife handle"]


def test_five_hundred_queries_at_once(robot: Robot) -> None:
    texts = [f"{i}th knife handle" for i in range(500)]
    request = SetQueries.Request(queries=[PartQuery(text=text) for text in texts])
    assert len(robot.call(robot.set_queries, request, patience=NODE_STARTS).active) == 500
    assert len(robot.answer(PICTURE, patience=NODE_STARTS).queries) == 500
    assert robot.ask("knife handle").success


def test_bad_threshold_is_refused_in_words(robot: Robot) -> None:
    request = SetQueries.Request(queries=[PartQuery(text="mug rim", threshold=7.0)])
    response = robot.call(robot.set_queries, request)
    assert not response.success and "7.0" in response.message


def test_silence_is_explained(robot: Robot) -> None:
    robot.rest(2.5)
    values = robot.fault("images", "publisher(s) on /image offer")
    assert "FASTDDS_DEFAULT_PROFILES_FILE" in values["hint"]


def test_missing_model_leaves_the_node_unconfigured_and_says_why(tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.safetensors"
    corrupt.write_bytes(b"not a model" * 100)
    with NodeProcesses() as programs:
        programs.start("ovps_ros.node", {"model": str(corrupt)}, ["-r", "__node:=broken"])
        robot = Robot("second")
        robot.spin_until(
            lambda: "corrupt.safetensors" in str(robot.faults().get("broken: configure")),
            NODE_STARTS,
        )
        state = robot.node.create_client(GetState, "/broken/get_state")
        assert robot.call(state, GetState.Request()).current_state.label == "unconfigured"
        robot.close()


def test_a_first_start_tells_what_it_builds_and_keeps_it_where_asked(
    toy_weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    parameters = {"model": str(toy_weights), "backend": "onnxruntime"}
    parameters["engine_cache"] = str(tmp_path / "engines")
    with NodeProcesses() as programs:
        robot = Robot("builder")
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=first", "-r", "__ns:=/arm"])
        said = ("building engine: exporting", " s so far")

        def told() -> bool:
            messages = [
                s.message for a in robot.diagnostics for s in a.status if "arm/first: m" in s.name
            ]
            return all(any(words in message for message in messages) for words in said)

        robot.spin_until(told, NODE_STARTS)
        robot.spin_until(
            lambda: robot.faults().get("arm/first: model", ("",))[1] == "active", NODE_STARTS
        )
        assert list((tmp_path / "engines").glob("onnxruntime-*/part_decoder.onnx"))
        robot.close()


def test_a_cache_that_cannot_be_written_is_named(toy_weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "file").touch()
    parameters = {"model": str(toy_weights), "backend": "onnxruntime"}
    parameters["engine_cache"] = str(tmp_path / "file" / "engines")
    with NodeProcesses() as programs:
        robot = Robot("nowhere")
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=homeless"])
        robot.spin_until(
            lambda: "cannot be kept" in str(robot.faults().get("homeless: configure")), NODE_STARTS
        )
        robot.close()
