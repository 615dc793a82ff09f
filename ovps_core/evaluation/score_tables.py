"""What a person reads after an evaluation: a table in the terminal and a JSON file with every figure."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ovps_core.evaluation.benchmark_scores import BenchmarkResult, SettingFigures
from ovps_core.evaluation.folder import FolderResult
from ovps_core.evaluation.rendered import RenderedResult

HEADERS = ["setting", "figure", "seen", "unseen", "harmonic", "all"]


def benchmark_table(result: BenchmarkResult, tablefmt: str = "simple") -> str:
    """Seen, unseen and harmonic figures of every setting, percent."""
    rows = []
    for figures in result.settings:
        for title, name in (
            ("mIoU", "miou"),
            ("mean recall", "mean_recall"),
            ("boundary IoU", "boundary_iou"),
        ):
            groups = [
                getattr(figures, f"{group}_{name}") for group in ("seen", "unseen", "harmonic")
            ]
            rows.append([figures.setting, title, *map(_percent, [*groups, getattr(figures, name)])])
        rows.append(
            [figures.setting, "pixel accuracy", "", "", "", _percent(figures.pixel_accuracy)]
        )
    return tabulate(rows, HEADERS, tablefmt=tablefmt, disable_numparse=True)


def class_table(figures: SettingFigures, tablefmt: str = "simple") -> str:
    """One line for each class that occurs, best IoU first, percent."""
    shown = sorted((c for c in figures.classes if c.pixels), key=lambda c: -c.iou)
    rows = [
        [
            c.name,
            "seen" if c.seen else "unseen",
            *map(_percent, (c.iou, c.recall, c.boundary_iou)),
            c.pixels,
        ]
        for c in shown
    ]
    headers = [figures.setting, "split", "IoU", "recall", "boundary IoU", "pixels"]
    return tabulate(rows, headers, tablefmt=tablefmt, disable_numparse=True)


def benchmark_heading(result: BenchmarkResult) -> str:
    """One sentence on what was measured."""
    how = "released evaluation, emulated" if result.released else "clean protocol"
    trained = f", trained on {result.trained_on}" if result.trained_on else ""
    fate = "replaced" if result.released else "skipped"
    return (
        f"{result.model}{trained}, on {result.dataset}: {result.items} items ({how}; "
        f"{result.skipped} without part labels {fate})"
    )


def folder_table(result: FolderResult, tablefmt: str = "simple") -> str:
    """A line a category and one for all, IoUs and shares in percent."""
    rows = []
    everything = (("all", result.figures.figures()),)
    categories = ((f"{name} {part}".strip(), f) for (name, part), f in result.figures.categories())
    for title, figures in (*categories, *everything):
        shares = (
            figures.mean_iou,
            figures.cumulative_iou,
            figures.best_threshold_iou,
            figures.precision_50,
            figures.false_alarm_rate,
        )
        rows.append(
            [title, figures.present, figures.absent, *(_percent(100 * share) for share in shares)]
        )
    headers = [
        "query",
        "present",
        "absent",
        "mean IoU",
        "cum. IoU",
        "best cut",
        "P@0.5",
        "false alarms",
    ]
    return tabulate(rows, headers, tablefmt=tablefmt, disable_numparse=True)


def rendered_table(result: RenderedResult, tablefmt: str = "simple") -> str:
    """A line a group of queries, IoUs and shares in percent.

    Recall is the share of present queries whose answer overlaps the truth at all, "found" that of those whose
    IoU with it is 0.5 or more, "by name" the mean over names of each one's mean IoU.
    """
    rows = []
    for group, row in result.groups.items():
        figures = row.figures()
        shares = (
            figures.mean_iou,
            row.mean_of_categories,
            figures.best_threshold_iou,
            figures.precision_50,
            row.recall,
            figures.false_alarm_rate,
        )
        queries = figures.present + figures.absent
        rows.append([group.value, queries, *(_percent(100 * share) for share in shares)])
    headers = ["queries for", "asked", "mean IoU", "by name", "best cut", "P@0.5", "recall"]
    return tabulate(rows, [*headers, "false alarms"], tablefmt=tablefmt, disable_numparse=True)


def pairs_table(result: RenderedResult, tablefmt: str = "simple") -> str:
    """A line an (object, part), best mean IoU first, percent."""
    rows = [
        [name, "seen" if seen else "unseen", figures.present, _percent(100 * figures.mean_iou)]
        for name, seen, figures in sorted(result.pairs(), key=lambda row: -row[2].mean_iou)
    ]
    headers = ["pair", "split", "asked", "mean IoU"]
    return tabulate(rows, headers, tablefmt=tablefmt, disable_numparse=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Every figure, indented; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
