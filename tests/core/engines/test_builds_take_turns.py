"""Programs that need the same engine at once build it once, and none deletes what another one loads."""

from __future__ import annotations

import errno
import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ovps_core.engines import engine_cache
from ovps_core.engines.engine_cache import EngineCache

KEY = {"weights": "a"}


class Build:
    """A build that waits for ``go``; it notes that it runs."""

    def __init__(self) -> None:
        self.runs, self.go = threading.Event(), threading.Event()

    def __call__(self, folder: Path) -> None:
        self.runs.set()
        assert self.go.wait(20)
        (folder / "encoder.bin").write_bytes(b"graph")


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_cache, "_PAUSE", 0.01)


def test_the_second_waits_and_takes_the_engine_of_the_first(tmp_path: Path) -> None:
    waits, steps, build = threading.Event(), [], Build()

    def progress(step: str) -> None:
        steps.append(step)
        waits.set()

    first = in_background(lambda: EngineCache(tmp_path).get_or_build("openvino", KEY, build))
    assert build.runs.wait(20)
    found: list[Path] = []
    second = in_background(
        lambda: found.append(EngineCache(tmp_path, progress).get_or_build("openvino", KEY, _never))
    )
    assert waits.wait(20) and not found and "another process" in steps[0]
    build.go.set()
    first.join()
    second.join()
    assert [path.name for path in tmp_path.iterdir()] == [found[0].name], "no lock is left"
    assert (found[0] / "encoder.bin").read_bytes() == b"graph"


def test_without_locks_the_engine_of_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    cache, slow, fast = EngineCache(tmp_path), Build(), Build()
    second = in_background(lambda: cache.get_or_build("openvino", KEY, slow))
    assert slow.runs.wait(20)
    fast.go.set()
    folder = cache.get_or_build("openvino", KEY, fast)
    before = (folder / "encoder.bin").stat().st_ino
    slow.go.set()
    second.join()
    assert (folder / "encoder.bin").stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_interrupt_ends_the_wait(tmp_path: Path) -> None:
    def interrupt(step: str) -> None:
        raise KeyboardInterrupt

    build = Build()
    first = in_background(lambda: EngineCache(tmp_path).get_or_build("openvino", KEY, build))
    assert build.runs.wait(20)
    with pytest.raises(KeyboardInterrupt):
        EngineCache(tmp_path, interrupt).get_or_build("openvino", KEY, _never)
    build.go.set()
    first.join()
    assert EngineCache(tmp_path).get_or_build("openvino", KEY, _never).is_dir()


def test_the_lock_of_a_killed_program_holds_nobody(tmp_path: Path) -> None:
    build = Build()
    build.go.set()
    name = EngineCache(tmp_path / "other").get_or_build("openvino", KEY, build).name
    (tmp_path / f"{name}.lock").touch()
    assert EngineCache(tmp_path).get_or_build("openvino", KEY, build).is_dir()
    assert not list(tmp_path.glob("*.lock"))


def test_the_next_build_removes_the_locks_of_killed_programs_and_no_others(tmp_path: Path) -> None:
    slow, fast = Build(), Build()
    first = in_background(lambda: EngineCache(tmp_path).get_or_build("openvino", KEY, slow))
    assert slow.runs.wait(20)
    (held,) = tmp_path.glob("*.lock")
    (tmp_path / "openvino-killed.lock").touch()
    fast.go.set()
    EngineCache(tmp_path).get_or_build("openvino", {"weights": "b"}, fast)
    assert list(tmp_path.glob("*.lock")) == [held]
    slow.go.set()
    first.join()
    assert not list(tmp_path.glob("*.lock"))


def _never(folder: Path) -> None:
    raise AssertionError("built twice")
