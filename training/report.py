"""Loss and score curves of a training run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values, float64 [N] each."""


def read_curves(metrics: Path) -> dict[str, Curve]:
    """The curve of every logged name, from Lightning's ``metrics.csv``.

    A row that a kill or a full disk has cut is left out.
    """
    curves: dict[str, tuple[list[float], list[float]]] = {}
    lines = metrics.read_text("utf-8", errors="replace").splitlines(keepends=True)
    # A number without its end would read as another one; Python 3.10 reads no line with zero bytes.
    whole = [line for line in lines if line.endswith("\n") and "\0" not in line]
    for row in csv.DictReader(whole):
        try:
            step = float(row["step"])
            logged = {k: float(v) for k, v in row.items() if v and k not in ("step", "epoch")}
        except (KeyError, TypeError, ValueError):
            continue
        for name, value in logged.items():
            steps, values = curves.setdefault(name, ([], []))
            steps.append(step)
            values.append(value)
    return {name: (np.array(steps), np.array(values)) for name, (steps, values) in curves.items()}


def set_aside_curves(metrics: Path) -> dict[str, Curve]:
    """The curves before a run is resumed. Their file is renamed, since the logger would overwrite it."""
    earlier = sorted(metrics.parent.glob("before_*.csv"))
    if metrics.is_file():
        aside = metrics.with_name(f"before_{len(earlier):04d}.csv")
        metrics.replace(aside)
        earlier.append(aside)
    curves: dict[str, Curve] = {}
    for file in earlier:
        curves = join_curves(curves, read_curves(file))
    return curves


def join_curves(earlier: Mapping[str, Curve], later: Mapping[str, Curve]) -> dict[str, Curve]:
    """Curves of a resumed run behind the curves from before it.

    Steps after the checkpoint that were lost with the earlier run are dropped: the later one made them again.
    """
    nothing: Curve = (np.zeros(0), np.zeros(0))
    joined = {}
    for name in {**earlier, **later}:
        before, after = earlier.get(name, nothing), later.get(name, nothing)
        if len(after[0]):
            kept = before[0] < after[0][0]
            before = before[0][kept], before[1][kept]
        joined[name] = (
            np.concatenate([before[0], after[0]]),
            np.concatenate([before[1], after[1]]),
        )
    return joined


def first_and_last(curve: Curve, count: int = 5) -> tuple[float, float]:
    """The first logged value and the mean of the last ``count``, at most of the later half."""
    values = curve[1]
    return float(values[0]), float(values[max(len(values) // 2, len(values) - count) :].mean())


def plot_curves(curves: Mapping[str, Curve], path: Path) -> None:
    """Plot each curve over its steps, side by side, as a PNG."""
    figure = Figure(figsize=(3.2 * len(curves), 2.6))
    axes = figure.subplots(1, len(curves), squeeze=False)[0]
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        axis.plot(*curve, marker="o" if len(curve[0]) == 1 else None)
        axis.set_title(name)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
