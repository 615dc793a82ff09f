"""The page of topics and parameters says what the code does."""

from __future__ import annotations

import re

import pytest
from helpers.paths import ROOT

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import Robot

pytestmark = pytest.mark.ros
PAGE = (ROOT / "docs" / "ros_reference.md").read_text()


def test_every_topic_of_the_running_node_is_on_the_page(robot: Robot) -> None:
    node = robot.node
    robot.spin_until(lambda: node.count_subscribers("/camera_info"))  # the last that the node makes
    published = node.get_publisher_names_and_types_by_node("ovps", "/")
    subscribed = node.get_subscriber_names_and_types_by_node("ovps", "/")
    of_every_node = ("/rosout", "/parameter_events", "/clock", "/ovps/transition_event")
    ours = {
        name.replace("/ovps/", "~/"): types[0].replace("/msg/", "/")
        for name, types in published + subscribed
        if name not in of_every_node and "_action" not in name
    }
    assert len(ours) > 10
    rows = {line.split("|")[1].strip(): line for line in PAGE.splitlines() if line.startswith("| ")}
    for name, kind in ours.items():
        if name.startswith("~/poses/"):  # left by a test that listened to the poses of one query
            name = "~/poses/QUERY"
        line = rows.get(name) or rows[name.removeprefix("/")]
        assert kind in line


def test_every_fault_in_the_code_is_on_the_page() -> None:
    from ovps_ros.diagnostics import Fault

    sources = "".join(path.read_text() for path in (ROOT / "ovps_ros").rglob("*.py"))
    assert not re.findall(r"\.report\(\s*\"", sources), "name faults by the enumeration"
    reported = set(re.findall(r"\.report\(\s*Fault\.([A-Z_]+)", sources))
    assert reported == set(Fault.__members__)
    assert all(f"| `{fault}`" in PAGE for fault in Fault)


def test_every_message_field_is_on_the_page() -> None:
    from ovps_ros import action, msg, srv

    types = [getattr(msg, path.stem) for path in (ROOT / "msg").glob("*.msg")]
    types += [srv.SetQueries.Request, srv.SetQueries.Response]
    types += [action.FindParts.Goal, action.FindParts.Result, action.FindParts.Feedback]
    fields = {name for kind in types for name in kind.get_fields_and_field_types()}
    assert {name for name in fields if f"| `{name}`" not in PAGE} == set()


def test_the_page_is_what_its_program_prints() -> None:
    from ovps_ros.tools.reference import reference

    assert reference() == PAGE, "run: python -m ovps_ros.tools.reference > docs/ros_reference.md"
