"""Any parameter file is read or refused in words, and no accepted one holds a number that cannot be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

import rclpy
from rclpy.exceptions import ParameterException

from ovps_core.errors import OvpsError
from ovps_ros import parameters

pytestmark = pytest.mark.ros
DEFAULTS = vars(parameters.Settings())
NAMES = list(DEFAULTS)
VALUES = st.one_of(
    st.booleans(), st.integers(-3, 2**40), st.floats(), st.floats(-1, 2), st.text(max_size=6),
    st.sampled_from(["raw", "compressed", "mug handle", "rectified", "~/x", "1e3", "[]"]),
    st.lists(st.text(max_size=4), max_size=3), st.lists(st.floats(-1, 9), max_size=3), st.none(),
    st.just({}), st.lists(st.sampled_from([1, "a", 2.5, True]), max_size=3),
)  # fmt: skip


def numbers(value: Any) -> list[float]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, (int, float))]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=3))
def test_any_values_are_read_or_refused_in_words(tmp_path: Path, content: dict[str, Any]) -> None:
    path, context = tmp_path / "params.yaml", rclpy.Context()
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": content}}, allow_unicode=True))
    try:
        rclpy.init(args=["--ros-args", "--params-file", str(path)], context=context)
    except Exception as error:  # RCLError is private; the node prints its first sentence
        assert str(error)
        return
    node = rclpy.create_node("fuzzed", context=context)
    try:
        read = parameters.declare(node)
        assert not [n for n in content if content[n] == [] and DEFAULTS[n] != []]
        for name in NAMES:
            assert all(map(math.isfinite, numbers(getattr(read, name)))), (name, content)
    except (OvpsError, ParameterException) as error:  # the node prints them
        assert str(error)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
