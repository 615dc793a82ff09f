"""Tables of an evaluation for the terminal or a page, and a JSON file with every metric."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from tabulate import tabulate

from ovps_core.datasets.coco_problems import list_problems
from ovps_core.evaluation.benchmark_result import BenchmarkResult, SettingMetrics
from ovps_core.evaluation.folder import FolderResult
from ovps_core.evaluation.objects import ObjectsResult
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
        if not math.isnan(metrics.over_segmentation):
            for kind in ("over", "under"):
                groups = [
                    _percent(getattr(metrics, f"{group}{kind}_segmentation"))
                    for group in ("seen_", "unseen_", "")
                ]
                rows.append([metrics.setting, f"{kind}-segmentation", *groups[:2], "", groups[2]])
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


def folder_notes(result: FolderResult) -> list[str]:
    """Notes below the table: what it is scored against, and what is not in it."""
    notes = []
    if result.pseudo_labels:
        notes.append(
            f"Scored against pseudo-labels ({result.pseudo_labels} annotations that a model made): this is "
            "agreement with that model, not accuracy."
        )
    if result.not_scored:
        notes.append(
            f"Not scored: {result.not_scored} queries about images whose labels do not say whether, or not "
            "completely where, the part is in them."
            + (
                f" {result.crowds} annotations are crowd regions (iscrowd)."
                if result.crowds
                else ""
            )
        )
    if result.problems:
        notes.append(f"Left out, {len(result.problems)}:\n{list_problems(result.problems)}")
    return notes


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


def objects_table(result: ObjectsResult) -> str:
    """Format every metric of an object model, percent; the names are those of the JSON file."""
    rows = [[name, _percent(100 * value)] for name, value in result.metrics.items()]
    return tabulate(rows, ["metric", "percent"], tablefmt="simple", disable_numparse=True)


def object_classes_table(result: ObjectsResult) -> str:
    """Format a line for each name that occurs, best first, percent."""
    columns = list(next(iter(result.per_category.values()), {}))
    shown = {
        name: [metrics[column] for column in columns]
        for name, metrics in result.per_category.items()
        if not all(map(math.isnan, metrics.values()))
    }
    best_first = sorted(shown.items(), key=lambda row: -np.nanmax(row[1]))
    lines = [[name, *(_percent(100 * value) for value in values)] for name, values in best_first]
    return tabulate(lines, ["name", *columns], tablefmt="simple", disable_numparse=True)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
