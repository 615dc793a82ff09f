"""A bulk annotation: units that are missing are done, here or on Ray, and all results become one data set."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovps_core.bulk.annotator import PARTIAL, Annotator, Job, Report, result_path
from ovps_core.bulk.collect import write_data_set
from ovps_core.bulk.units import Unit, find_units
from ovps_core.datasets.coco_folder import ANNOTATIONS
from ovps_core.datasets.label_files import read_json
from ovps_core.errors import UsageError
from ovps_core.structures.whole_files import write_json

JOB = "job.json"
"""File that says what a folder's annotations were asked for."""

Execute = Callable[[Annotator, Sequence[Unit]], Iterable[Report]]
"""Annotates units in any order and reports each."""


@dataclass(frozen=True)
class Summary:
    """Contents of a run's data set.

    Attributes:
        frames, masks: numbers.
        resumed: frames that an earlier run had annotated.
        left_out: frames that could not be read, by reason.
        problems: source -> why it, or the rest of it, could not be read.
        refused: phrase -> why the model does not answer it.
    """

    frames: int
    masks: int
    resumed: int
    left_out: Counter[str]
    problems: dict[str, str]
    refused: dict[str, str]


def annotate_here(annotator: Annotator, units: Sequence[Unit]) -> Iterable[Report]:
    """Annotate in this process."""
    return map(annotator, units)


def annotate_frames(
    sources: Sequence[Path],
    annotator: Annotator,
    *,
    model: str,
    engine: Mapping[str, str] = {},
    execute: Execute = annotate_here,
) -> Summary:
    """Annotate pictures and recordings; the same call continues an interrupted run.

    ``OUT/annotations.json`` is a COCO file of pseudo-labels with each frame once, in the order of the sources. It
    does not depend on who annotated what, nor on how often a run was interrupted. Ids of a finished run stay, and
    so do the pictures that people labelled since.

    Args:
        sources: pictures, recordings, and folders that are searched for them.
        annotator: the work on one unit, with its job.
        model: names the weights; a folder is continued with the same ones only.
        engine: "backend", "precision" and "calibration", as they were asked for; "" stands for a missing one. They
            too must stay the same.
        execute: where the work is done; this process without it.

    Raises:
        UsageError: nothing to annotate, or the folder holds answers to other questions or of other sources.
        OutputError: a file cannot be written.
    """
    out = annotator.job.out
    units = find_units(sources, out)
    _check_job(annotator.job, model, engine, sources)
    frames = {unit.key: _finished(out, unit) for unit in units}
    missing = [unit for unit in units if frames[unit.key] is None]
    resumed = sum(number or 0 for number in frames.values())
    reports = execute(annotator, missing) if missing else ()
    with tqdm(
        total=len(units), initial=len(units) - len(missing), unit="unit", disable=None
    ) as bar:
        for report in reports:
            bar.update()
            bar.set_postfix_str(f"{report.frames} frames{', incomplete' if report.problem else ''}")
    return _collect(out, units, resumed)


def _check_job(job: Job, model: str, engine: Mapping[str, str], sources: Sequence[Path]) -> None:
    asked: dict[str, Any] = {"queries": job.queries, "model": model, "options": asdict(job.options)}
    asked |= {"image_topic": job.image_topic, "every": job.every}
    asked |= {"backend": "", "precision": "", "calibration": "", **engine}
    path = job.out / JOB
    if (job.out / ANNOTATIONS).exists() and not path.is_file():
        raise UsageError(
            f"{job.out} holds a data set that this command did not make; name another folder with --out"
        )
    named = sorted({os.path.abspath(source) for source in sources})
    has_results = any((job.out / PARTIAL).glob("*.json"))  # none if all phrases were refused
    if path.is_file() and has_results:
        earlier = read_json(path)
        # Earlier versions did not write all keys.
        differs = [key for key, value in asked.items() if earlier.get(key, value) != value]
        if differs:
            raise UsageError(
                f"{job.out} was annotated with other {', '.join(differs)}: {earlier.get(differs[0])!r}, not "
                f"{asked[differs[0]]!r}. Name another folder with --out"
            )
        missing = [each for each in earlier.get("sources", ()) if not _is_within(each, named)]
        if missing:
            further = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UsageError(
                f"{job.out} was made from {missing[0]}{further} too, and would lose it. Name it again with what "
                "is new, or another folder with --out"
            )
    write_json(path, {**asked, "sources": named})


def _is_within(source: str, named: Sequence[str]) -> bool:
    """Return whether a source is one of those named, or in one of their folders."""
    return any(str(path) in named for path in (Path(source), *Path(source).parents))


def _finished(out: Path, unit: Unit) -> int | None:
    """Number of a unit's frames; None if it has to be done, also where a damaged file may have been mended."""
    path = result_path(out, unit.key)
    result: dict[str, Any] | None = read_json(path) if path.is_file() else None
    return len(result["images"]) if result and not result["problem"] else None


def _collect(out: Path, units: Sequence[Unit], resumed: int) -> Summary:
    left_out: Counter[str] = Counter()
    problems: dict[str, str] = {}
    refused: dict[str, str] = {}

    def results() -> Iterator[dict[str, Any]]:
        for unit in units:
            result = read_json(result_path(out, unit.key))
            left_out.update(result["left_out"])
            refused.update(result["refused"])
            if result["problem"]:
                problems[unit.paths[0]] = result["problem"]
            yield result

    return Summary(*write_data_set(out, results()), resumed, left_out, problems, refused)
