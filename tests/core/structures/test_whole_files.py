"""Files are written whole or not at all, and every program says in one line why it could not."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT

from ovps_core.engines.engine_cache import EngineCache
from ovps_core.errors import BackendError, OutputError
from ovps_core.structures.cache_folder import cache_folder
from ovps_core.structures.whole_files import unfinished, unfinished_folder, write_json, write_whole

TABLE = str(ROOT / "docs" / "images" / "table.jpg")


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(RuntimeError), unfinished(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_a_folder_that_a_killed_process_of_the_same_id_left_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    left = tmp_path / f".{path.name}.{os.getpid()}.part" / path.name
    left.mkdir(parents=True)
    (left / "half").touch()
    with unfinished_folder(path) as folder:
        folder.mkdir()
    assert [*tmp_path.rglob("*")] == [path]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.txt", tmp_path):
        with pytest.raises(OutputError, match=f"cannot write {path}: "):
            write_whole(path, "text")


def ovps(*words: str, file_size: int | None = None, **environment: str) -> tuple[int, str, str]:
    """Exit status and output of the command, which may not write larger files: like a full disk."""

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    done = subprocess.run(
        [sys.executable, "-m", "ovps_core", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("option", [["--masks", "m"], ["-o", "m/out.png"]])
def test_a_full_disk_is_one_line_and_leaves_no_empty_file(
    tmp_path: Path, option: list[str]
) -> None:
    words = ["segment", TABLE, "knife handle", "--backend", "onnxruntime"]
    status, _, error = ovps(*words, option[0], str(tmp_path / option[1]), file_size=100)
    assert status == 1 and len(error.splitlines()) == 1 and "cannot write" in error
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


@pytest.mark.slow
def test_a_full_disk_while_printing_is_one_line() -> None:
    words = [sys.executable, "-m", "ovps_core", "models"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        "ovps models: cannot write the output: No space left on device"
    ]


@pytest.mark.slow
def test_the_packaged_model_needs_no_home(tmp_path: Path) -> None:
    environment = {"HOME": "/dev/null", "OVPS_CACHE": "", "TMPDIR": str(tmp_path)}
    words = ["segment", TABLE, "knife handle", "--backend", "torch"]
    status, printed, error = ovps(*words, **environment)
    assert status == 0 and "knife handle" in printed
    assert error == "" or "set OVPS_CACHE" in error


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("home", [{}, {"HOME": "/root/closed"}])
def test_an_unknown_user_without_home_has_a_cache_in_the_temporary_folder(
    home: dict[str, str],
) -> None:
    script = (
        "import os; from ovps_core.structures.cache_folder import cache_folder\n"
        "from ovps_core.language.lexicon import _users_affordances\n"
        "import huggingface_hub.errors; from huggingface_hub import snapshot_download\n"
        "from ovps_core.checkpoints import hub, registry\n"
        "os.setgid(54321); os.setuid(54321)\n"
        "print(cache_folder(), cache_folder().is_dir(), _users_affordances())\n"
        "assert hub.cached_folder('someone/model') is None\n"
        "try: registry.find_weights('~/mine.safetensors')\n"
        "except registry.CheckpointError: pass"
    )
    environment = {key: value for key, value in os.environ.items() if key != "HOME"}
    environment |= {"OVPS_CACHE": "", "TMPDIR": "/tmp", **home}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split()[1:] == ["True", "{}"], done.stderr
    assert Path(done.stdout.split()[0]).name.startswith("ovps-")
    assert done.stderr.count("set OVPS_CACHE") == 1
    Path(done.stdout.split()[0]).rmdir()


def test_the_cache_that_is_named_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVPS_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    (tmp_path / "mine").write_text("")
    with pytest.raises(BackendError, match="OVPS_CACHE"):
        EngineCache().get_or_build("toy", {"a": "1"}, lambda folder: None)


def test_folders_of_killed_builds_are_swept_and_running_ones_are_not(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from ovps_core.engines.engine_cache import EngineCache\n"
        "EngineCache(Path(sys.argv[1])).get_or_build('toy', {'a': '1'}, "
        "lambda folder: (print('building', flush=True), time.sleep(600)))"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as build:
        assert build.stdout is not None and build.stdout.readline() == "building\n"
        (folder,) = tmp_path.glob("*.unfinished")
        os.utime(folder, (time.time() - 3600,) * 2)
        write = lambda folder: (folder / "engine").write_text("engine")  # noqa: E731
        EngineCache(tmp_path).get_or_build("toy", {"a": "2"}, write)
        assert folder.is_dir(), "another process builds in it"
        build.kill()
    EngineCache(tmp_path).get_or_build("toy", {"a": "3"}, write)
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_dir()) == ["", ""]
