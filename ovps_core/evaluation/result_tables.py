"""Tables of an evaluation for the terminal or a page, and a JSON file with every metric."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ovps_core.evaluation.benchmark_result import BenchmarkResult, SettingMetrics
from ovps_core.evaluation.folder import FolderResult
from ovps_core.evaluation.rendered import RenderedResult
from ovps_core.structures.query import RefusedQuery

HEADERS = ["setting", "metric", "seen", "unseen", "harmonic", "all"]


def benchmark_table(result: BenchmarkResult, tablefmt: str = "simple") -> str:
    """Format seen, unseen and harmonic metrics of every setting, percent."""
    rows = []
    for metrics in result.settings:
        for title, name in (
            ("mIoU", "miou"),
            ("mean recall", "mean_recall"),
            ("boundary IoU", "boundary_iou"),
        ):
            groups = [
                getattr(metrics, f"{group}_{name}") for group in ("seen", "unseen", "harmonic")
            ]
            rows.append([metrics.setting, title, *map(_percent, [*groups, getattr(metrics, name)])])
        rows.append(
            [metrics.setting, "pixel accuracy", "", "", "", _percent(metrics.pixel_accuracy)]
        )
    return tabulate(rows, HEADERS, tablefmt=tablefmt, disable_numparse=True)


def class_table(metrics: SettingMetrics, tablefmt: str = "simple") -> str:
    """Format a line for each class that occurs, best IoU first, percent."""
    shown = sorted((c for c in metrics.classes if c.pixels), key=lambda c: -c.iou)
    rows = [
        [
            c.name,
            "seen" if c.seen else "unseen",
            *map(_percent, (c.iou, c.recall, c.boundary_iou)),
            c.pixels,
        ]
        for c in shown
    ]
    headers = [metrics.setting, "split", "IoU", "recall", "boundary IoU", "pixels"]
    return tabulate(rows, headers, tablefmt=tablefmt, disable_numparse=True)


def benchmark_heading(result: BenchmarkResult) -> str:
    """Summarise a benchmark run in one line."""
    trained = f", trained on {result.trained_on}" if result.trained_on else ""
    treatment = "replaced" if result.protocol.replaces_empty_items else "skipped"
    return (
        f"{result.model}{trained}, on {result.dataset}: {result.items} items ({result.protocol.title}; "
        f"{result.skipped} without part labels {treatment})"
    )


def folder_table(result: FolderResult, tablefmt: str = "simple") -> str:
    """Format a line for each category and one for all; IoUs and shares in percent."""
    rows = []
    everything = (("all", result.queries.metrics()),)
    categories = ((f"{name} {part}".strip(), f) for (name, part), f in result.queries.categories())
    for title, metrics in (*categories, *everything):
        shares = (
            metrics.mean_iou,
            metrics.cumulative_iou,
            metrics.best_threshold_iou,
            metrics.precision_50,
            metrics.false_alarm_rate,
        )
        rows.append(
            [title, metrics.present, metrics.absent, *(_percent(100 * share) for share in shares)]
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


def refused_lines(refused: Iterable[RefusedQuery]) -> str:
    """Format a line for each refused phrase, with the reason."""
    return "\n".join(["Refused, not in the table:", *(f"  {query.reason}" for query in refused)])


def rendered_table(result: RenderedResult, tablefmt: str = "simple") -> str:
    """Format a line for each group of queries; IoUs and shares in percent.

    "By name" is the mean over names of each name's mean IoU. "Recall" is the share of present queries whose
    answer overlaps the truth at all.
    """
    rows = []
    for group, row in result.groups.items():
        metrics = row.metrics()
        shares = (
            metrics.mean_iou,
            row.mean_of_categories,
            metrics.best_threshold_iou,
            metrics.precision_50,
            row.recall,
            metrics.false_alarm_rate,
        )
        queries = metrics.present + metrics.absent
        rows.append([group.value, queries, *(_percent(100 * share) for share in shares)])
    headers = ["queries for", "count", "mean IoU", "by name", "best cut", "P@0.5", "recall"]
    return tabulate(rows, [*headers, "false alarms"], tablefmt=tablefmt, disable_numparse=True)


def pairs_table(result: RenderedResult, tablefmt: str = "simple") -> str:
    """Format a line for each (object, part), best mean IoU first, percent."""
    rows = [
        [name, "seen" if seen else "unseen", metrics.present, _percent(100 * metrics.mean_iou)]
        for name, seen, metrics in sorted(result.pairs(), key=lambda row: -row[2].mean_iou)
    ]
    headers = ["pair", "split", "count", "mean IoU"]
    return tabulate(rows, headers, tablefmt=tablefmt, disable_numparse=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write every metric as indented JSON; create the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
