"""Arguments of launch files, and the parameters that they become; it imports neither launch nor PyTorch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovps_core.structures.cache_folder import expand_home
from ovps_ros.dds_profiles import FASTDDS_VARIABLES

INPUTS = ("image", "depth", "camera_info", "depth_camera_info", "objects")
"""Arguments that are topics to which the node's inputs are remapped."""

PARAMETERS: dict[str, type] = {
    "queries": list,
    "model": str,
    "object_model": str,
    "image_transport": str,
    "use_depth": bool,
    "autostart": bool,
    "use_sim_time": bool,
}
"""Arguments that are parameters of the node, with their types."""

_PYTHON = "bin/python3"
_SURROGATES = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def parameters_file(arguments: Mapping[str, str]) -> str:
    """Content of a parameter file with the parameters that the caller gave.

    Parameters that were not given are left out, so that another file or the node decides them.

    Args:
        arguments: texts of the launch arguments; an empty one was not given.

    Raises:
        ValueError: a text is not of its parameter's type.
    """
    given = {name: text for name in PARAMETERS if (text := arguments.get(name, ""))}
    values = {name: _value(name, text) for name, text in given.items()}
    if not values:
        return ""
    # JSON is YAML in which rcl takes every quoted text for a text. But YAML has one escape for a character for
    # which JSON has a pair.
    text = json.dumps({"/**": {"ros__parameters": values}})
    return _SURROGATES.sub(_yaml_escape, text)


def _yaml_escape(pair: re.Match[str]) -> str:
    return rf"\U{ord(json.loads(chr(34) + pair[0] + chr(34))):08x}"


def _value(name: str, text: str) -> Any:
    kind = PARAMETERS[name]
    if kind is list:
        # The node splits phrases at commas, and drops empty ones. rcl would take an empty list for none given.
        return ["" if text.strip() == "[]" else text]
    if kind is str:
        return text
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"{name}:={text}; expected true or false")
    return text.lower() in _TRUE


def further_remaps(text: str) -> list[tuple[str, str]]:
    """Remaps of a launch argument, such as "left/image:=/l/image_raw, /tf:=tf".

    Raises:
        ValueError: a remap does not look like FROM:=TO.
    """
    pairs = [one.strip().split(":=") for one in text.split(",") if one.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ValueError(f"remap:={text}; expected FROM:=TO, several separated by commas")
    return [(before.strip(), after.strip()) for before, after in pairs]


def profile_variables(given: str, packaged: str) -> dict[str, str]:
    """Environment variables that set the Fast DDS profile; none where the user's environment has a profile.

    Args:
        given: the launch argument; empty if it was not given.
        packaged: profile of this package.
    """
    if not given and any(os.environ.get(name) for name in FASTDDS_VARIABLES):
        return {}
    return dict.fromkeys(FASTDDS_VARIABLES, given or packaged)


def existing_file(name: str, arguments: Mapping[str, str]) -> str:
    """Path of a file that was given as a launch argument, with ``~`` expanded; empty if it was not given.

    Raises:
        ValueError: there is no such file.
    """
    given = arguments.get(name, "")
    path = str(expand_home(given)) if given else ""
    if path and not os.path.isfile(path):
        raise ValueError(f"{name}:={given}: no file at {path}")
    return path


def python_of_venv(given: str, share: str) -> str:
    """Python of the virtual environment that holds the node's packages; empty for the one in the path.

    An active environment is in the path already. Otherwise the folder ``venv`` of the workspace is taken.

    Args:
        given: the launch argument: folder of the environment; empty if it was not given.
        share: share folder of this package, in the install folder of the workspace.

    Raises:
        ValueError: the given folder has no Python.
    """
    if given:
        python = expand_home(given) / _PYTHON
        if not python.exists():
            raise ValueError(f"venv:={given} has no {_PYTHON}; expected a virtual environment")
        return str(python)
    if os.environ.get("VIRTUAL_ENV"):
        return ""
    # merged: WORKSPACE/install/share/ovps_ros, isolated: WORKSPACE/install/ovps_ros/share/ovps_ros
    beside = [parent / "venv" / _PYTHON for parent in Path(share).parents[2:4]]
    return next((str(python) for python in beside if python.exists()), "")


def absolute_topic(topic: str) -> str:
    """Name of a recorded topic: a namespace of the node does not change it."""
    return topic if topic.startswith(("/", "~")) else f"/{topic}"


def node_topics(namespace: str, names: tuple[str, ...] = ("masks", "parts_3d")) -> list[str]:
    """Full names of topics of the node ``ovps`` in a namespace."""
    prefix = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
    return [f"{prefix}/ovps/{name}" for name in names]


def bag_problem(bag: str, out: str) -> str:
    """Reason why a recording cannot be played into a new one; empty if there is none."""
    if not Path(bag).exists():
        return f"no recording at {bag}; give an existing one: bag:=PATH"
    if Path(out).exists():
        return f"{out} exists already; give another name: out:=NAME"
    return ""
