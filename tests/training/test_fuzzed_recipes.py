"""Any recipe is read or refused by name, and no accepted one holds a number that cannot be."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovps_core.errors import ConfigError, OvpsError
from training.families import load_recipe
from training.recipe import RECIPES

few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PACKAGED = {path: yaml.safe_load(path.read_text()) for path in sorted(RECIPES.glob("*/*.yaml"))}
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=5), st.dates(),
    st.lists(st.integers(-3, 3), max_size=3), st.just({}), st.sampled_from([".nan", "1e-4", "inf"]),
)  # fmt: skip


def keys(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from keys(value, (*above, key))


def numbers(value: Any) -> Iterator[float]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers(getattr(value, field.name))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


@few
@given(data=st.data())
def test_a_packaged_recipe_with_one_changed_value(tmp_path: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(PACKAGED)))
    content = yaml.safe_load(path.read_text())
    *sections, last = data.draw(st.sampled_from(sorted(keys(content))))
    section = content
    for name in sections:
        section = section[name]
    section[last] = data.draw(ODD)
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(content))
    with contextlib.suppress(ConfigError):
        recipe = load_recipe(changed)
        assert all(math.isfinite(number) and number >= 0 for number in numbers(recipe))


@few
@given(data=st.data())
def test_a_packaged_recipe_with_changed_bytes(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(sorted(PACKAGED))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = tmp_path / "changed.yaml"
    changed.write_bytes(content)
    with contextlib.suppress(OvpsError):
        load_recipe(changed)


@few
@given(
    key=st.sampled_from(["optim.steps", "data", "name", "type", "model.clip", "", "a..b", "optim"]),
    value=st.one_of(st.text(max_size=8), st.sampled_from(["2020-13-45", "&a [*a]", "{a: 1}", "? [a]"])),
)  # fmt: skip
def test_any_override_is_read_or_refused(key: str, value: str) -> None:
    with contextlib.suppress(ConfigError):
        load_recipe("overfit", [f"{key}={value}"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.steps=-1", "should not be negative"),
        ("optim.lr=.nan", "should be a number"),
        ("optim.lr=true", "should be a number"),
        ("optim.lr=.inf", "should be a number"),
        ("optim.steps=2020-13-45", "is not YAML"),
    ],
)
def test_numbers_that_cannot_be_are_named(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        load_recipe("overfit", [override])
    assert override.split("=")[0].split(".")[-1] in str(raised.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"type: partclipseg\nname: \xfb\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml is not YAML"):
        load_recipe(path)
