"""An afternoon from end to end: an object that the model misses is recorded, labelled, learned and measured again.

::

    python -m scripts.afternoon --object axe --label-python ls/bin/python

Every step is a command of docs/training.md. The camera is simulated, and so is the person: ``simulated_annotator``
submits the true shapes to a real Label Studio. A step whose result is in ``--out`` is skipped; remove it to
do the step again. What depends on the model's weights or on ``--minutes`` has a folder of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ovps_core.checkpoints import find_weights
from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.labelling.server import Server
from ovps_core.synthetic.catalogue import OBJECT_CLASSES, object_class

ROOT = Path(__file__).parents[1]
OTHERS = ("hammer", "whisk", "saw", "mug", "screwdriver", "brush", "bottle", "spoon")
"""Objects beside the one to learn, on the recorded tables and in the scenes to measure on."""
SEED = 41
"""Of the scenes to measure on; the recorded tables have the seeds 100, 101, ..."""
REPLAYED = 768
"""Training scenes that are rendered if none are given."""
PER_TABLE = 2
"""Pictures of each recorded table that the node answers."""
MASKS, TRUTH = "/ovps/masks", "/sim_camera/truth"
_PATIENCE = 300.0  # seconds; a busy machine starts programs slowly


def arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--object", default="axe", help="object to learn, one of `ovps render`")
    parser.add_argument("--others", nargs="+", default=list(OTHERS), help="objects beside it")
    parser.add_argument("--out", type=Path, default=Path("out/afternoon"))
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or file of the weights")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training")
    parser.add_argument("--tables", type=int, default=20, help="tables to record, each with others")
    parser.add_argument("--tasks", type=int, default=16, help="pictures that the person submits")
    parser.add_argument("--count", type=int, default=60, help="scenes of each kind to measure on")
    parser.add_argument(
        "--replay",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="rendered scenes for half of each batch, so that the model keeps what it knows; without it, "
        "scenes of all other objects are rendered",
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="for `ovps train`"
    )
    label = parser.add_argument_group("Label Studio")
    label.add_argument(
        "--label-python",
        default=sys.executable,
        metavar="FILE",
        help="Python of the environment with the extra `label`; this one without it",
    )
    label.add_argument("--url", help="address of a server; one is started without it")
    label.add_argument("--key", help="API key of a user of that server")
    label.add_argument("--port", type=int, default=8080, help="of the server that is started")
    return parser.parse_args()


def main() -> None:
    """Take all steps and print the tables."""
    args = arguments()
    unwind_on_sigterm()
    out, name = args.out, args.object
    parts = [f"{name} {part}" for part in object_class(name).parts]
    weights = out / hashlib.sha256(find_weights(args.model).read_bytes()).hexdigest()[:8]
    scenes = measured_scenes(args)
    measure(args.model, scenes, weights / "before")
    record(args, parts)
    topics = ["bag", "extract", out / "recording", "--image", "/image", "--min-motion", "10"]
    if not (out / "frames" / "manifest.json").exists():
        ovps(*topics, "--masks", MASKS, "--out", out / "frames")
    if not (out / "truth" / "manifest.json").exists():
        ovps(*topics[:-2], "--masks", TRUTH, "--out", out / "truth")
    label(args, parts)
    run = weights / f"{args.minutes:g}-minutes{'-given-scenes' if args.replay else ''}"
    learned = run / name.replace(" ", "-") / "model.safetensors"
    if not learned.exists():
        data = ["--data", *(args.replay or [replay(out, name)])]
        start = ["--from", args.model, "--objects", name, "--out", run]
        changes = [f"optim.minutes={args.minutes:g}", *args.set]
        resume = ["--resume"] if learned.with_name("last.ckpt").exists() else []
        ovps("train", out / "frames", *data, *start, *resume, "--set", *changes)
    measure(str(learned), scenes, run / "after")
    report = tables(name, scenes, weights / "before", run / "after")
    (run / "report.txt").write_text(report, "utf-8")
    print(f"\n{report}\nin {run}: report.txt, {learned.relative_to(run)}")


def measured_scenes(args: argparse.Namespace) -> dict[str, Path]:
    """Scenes to measure on, which neither training nor recording show.

    The simulated camera draws its shapes from the split test too, but other ones, on other tables. Nothing shows
    shapes of the split val. The last folder has all other tabletop objects.
    """
    kinds: dict[str, list[str]] = {
        "test": ["--split", "test", "--objects", args.object, *args.others],
        "val": ["--split", "val", "--objects", args.object, *args.others],
        "others": ["--split", "test"],
    }
    folders = {}
    for kind, words in kinds.items():
        folders[kind] = args.out / "scenes" / kind
        size = ["--level", "tabletop", "--count", args.count, "--seed", SEED]
        ovps("render", *size, *words, "--out", folders[kind])  # what is there is not rendered again
    return folders


def replay(out: Path, name: str) -> Path:
    """Training scenes of all objects but the one to learn, so that the model keeps what it knows.

    Whoever labels an object has no rendered scenes of it, as a rule.
    """
    folder = out / "scenes" / "replay"
    known = [other for other in OBJECT_CLASSES if other != name]
    ovps("render", "--level", "wild", "--count", REPLAYED, "--objects", *known, "--out", folder)
    return folder


def measure(model: str, scenes: Mapping[str, Path], out: Path) -> None:
    """Write the metrics of a model on each folder of scenes."""
    for kind, folder in scenes.items():
        file = out / f"{kind}.json"
        if not file.exists():
            out.mkdir(parents=True, exist_ok=True)
            ovps("evaluate", "rendered", "--scenes", folder, "--model", model, "--json", file)


def record(args: argparse.Namespace, parts: Sequence[str]) -> None:
    """Record tables with the object: pictures, the node's answers and the truth."""
    if (args.out / "recording").exists():
        return
    folder = args.out / "recording-unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    from ovps_ros.tools.processes import NodeProcesses, isolate_ros_domain

    isolate_ros_domain()
    with NodeProcesses() as programs:
        node = {"model": args.model, "queries": list(parts), "max_age": 10.0}
        programs.start("ovps_ros.node", {**node, "use_depth": False})
        with started([sys.executable, ROOT / "examples" / "record_masks.py", folder, TRUTH]):
            count = answer_counter()
            for table in range(args.tables):
                beside = [args.others[(2 * table + i) % len(args.others)] for i in range(2)]
                film = {"objects": [args.object, *beside], "seed": 100 + table, "frames": 2}
                camera = programs.start("ovps_ros.tools.sim_camera", {**film, "rate": 1.0})
                seen, end = next(count), time.monotonic() + _PATIENCE
                while next(count) < seen + PER_TABLE:
                    if programs.ended() or time.monotonic() > end:
                        sys.exit(
                            f"no answers of the node to table {table}; ended: {programs.ended()}"
                        )
                programs.stop(camera)
                print(f"recorded table {table + 1} of {args.tables}", flush=True)
    folder.rename(args.out / "recording")


def answer_counter() -> Iterator[int]:
    """Number of answers of the node up to now, each time after a moment."""
    import rclpy
    from ovps_ros.msg import PartMasks

    rclpy.init()
    listener = rclpy.create_node("afternoon")
    heard: list[Any] = []
    subscription = listener.create_subscription(PartMasks, MASKS, heard.append, 10)
    while subscription is not None:
        rclpy.spin_once(listener, timeout_sec=0.1)
        yield len(heard)


def label(args: argparse.Namespace, parts: Sequence[str]) -> None:
    """Open the project, submit pictures, save what was submitted."""
    frames, truth = args.out / "frames", args.out / "truth"
    if (args.out / "submitted.txt").exists():
        return
    server: list[Any] = ["--data-dir", args.out / "label-studio"]
    server += ["--url", args.url] if args.url else []
    server += ["--key", args.key] if args.key else []
    python = [args.label_python, "-m"]
    with label_studio(args):
        ovps("label", "open", frames, "--labels", *parts, *server, python=args.label_python)
        person = [frames, truth, "--labels", *parts, "--tasks", args.tasks, *server]
        call([*python, "scripts.simulated_annotator", *person])
        ovps("label", "save", frames, *server, python=args.label_python)
    (args.out / "submitted.txt").write_text(f"{args.tasks}\n")


@contextmanager
def label_studio(args: argparse.Namespace) -> Iterator[None]:
    """Label Studio runs meanwhile, unless the address of another server is given."""
    if args.url:
        yield
        return
    where = ["--port", args.port, "--data-dir", args.out / "label-studio"]
    command = [args.label_python, "-m", "ovps_core", "label", "serve", *where]
    with started(command) as server:
        end = time.monotonic() + 2 * _PATIENCE
        while not Server(f"http://localhost:{args.port}", "").is_up():
            if server.poll() is not None or time.monotonic() > end:
                sys.exit("Label Studio did not start; see above")
            time.sleep(1)
        yield


def unwind_on_sigterm() -> None:
    """Make SIGTERM end the programs that run meanwhile too, as Ctrl-C does."""

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt that
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


@contextmanager
def started(command: Sequence[Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs meanwhile, then gets Ctrl-C."""
    process = subprocess.Popen([str(word) for word in command], env=environment())
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ovps(*words: Any, python: str = sys.executable) -> None:
    """Run a command of this checkout."""
    call([python, "-m", "ovps_core", *words])


def call(command: Sequence[Any]) -> None:
    """Print and run a command; the script ends if it fails."""
    words = [str(word) for word in command]
    print("$", shlex.join(words), flush=True)
    status = subprocess.run(words, env=environment(), check=False).returncode
    if status:
        sys.exit(f"ended with status {status}: {shlex.join(words)}")


def environment() -> dict[str, str]:
    """Environment in which Python finds this checkout."""
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": search}


def tables(name: str, scenes: Mapping[str, Path], before: Path, after: Path) -> str:
    """Mean IoU before and after, of each part of the object, of all others, and false alarms."""
    rows: list[list[Any]] = []
    for kind in scenes:
        old, new = (json.loads((d / f"{kind}.json").read_text("utf-8")) for d in (before, after))
        pairs = [categories(figures) for figures in (old, new)]
        own = [key for key in sorted(pairs[0]) if pairs[0][key]["object"] == name]
        rest = [key for key in pairs[0] if key not in own]
        for row, keys in (*((key, [key]) for key in own), (f"{name}, all", own), ("others", rest)):
            if keys:
                count = sum(pairs[0][key]["present"] for key in keys)
                rows.append([kind, row, count, *(mean_iou(each, keys) for each in pairs)])
        absent = [figures["groups"]["object absent"] for figures in (old, new)]
        alarms = [group["false_alarm_rate"] for group in absent]
        rows.append([kind, "false alarms", absent[0]["absent"], *alarms])
    for values in rows:
        values.append(values[4] - values[3])
    return tabulate(rows, ["scenes", "parts", "count", "before", "after", "change"], floatfmt=".3f")


def categories(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Metrics of each object part that scenes show."""
    kinds = ("seen pairs", "pairs never trained together")
    groups = [figures["groups"].get(kind, {}) for kind in kinds]
    return {key: row for group in groups for key, row in group.get("per_category", {}).items()}


def mean_iou(pairs: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> float:
    """Mean IoU over all queries about some object parts."""
    shown = [(pairs[key]["present"], pairs[key]["mean_iou"]) for key in keys]
    return sum(count * iou for count, iou in shown) / sum(count for count, _ in shown)


if __name__ == "__main__":
    main()
