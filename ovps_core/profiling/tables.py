"""Output of a measurement: table, JSON and plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tabulate import tabulate

from ovps_core.profiling.case import STAGES, Result
from ovps_core.profiling.peer import HuggingFacePeer
from ovps_core.structures.requirements import require_packages
from ovps_core.structures.whole_files import unfinished, write_json, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AXES: dict[str, Callable[[Result], int]] = {
    "queries": lambda r: r.queries,
    "cameras": lambda r: r.cameras,
    "image width": lambda r: r.size[0],
}


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Table rows, one per case.

    "x peer" and "network x peer" are the time of the peer's network over that of our whole frame, and over that of
    our network alone, at the same number of queries. "agree" is :attr:`ovps_core.profiling.case.Result.agreement`.
    """
    peers = {
        (r.model, r.queries, r.size): r.median for r in results if r.engine == HuggingFacePeer.name
    }
    table = []
    for r in results:
        low, high = r.spread
        peer = peers.get((r.model, r.queries, r.size)) if r.cameras == 1 else None
        table.append(
            {
                "model": r.model,
                "engine": r.engine,
                "queries": r.queries,
                "image": f"{r.size[0]}x{r.size[1]}",
                "cameras": r.cameras,
                "ms": round(r.median, 1),
                "quartiles": f"{low:.1f} to {high:.1f}",
                "images/s": round(r.images_per_second, 2),
                **{stage: round(r.stage(stage), 1) for stage in STAGES},
                "IoU with fp32": round(r.iou, 4),
                "agree": _known(r.agreement, 3),
                "MB": _known(r.memory_mb),
                "peak MB": _known(r.peak_mb),
                "x peer": round(peer / r.median, 1) if peer else "",
                "network x peer": round(peer / r.network, 1) if peer else "",
            }
        )
    return table


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """The values with None for NaN, which JSON lacks."""
    return {name: None if value != value else value for name, value in values.items()}


def _known(value: float, digits: int | None = None) -> float | str:
    """A rounded number, or nothing for NaN."""
    return round(value, digits) if value == value else ""


def markdown(results: Sequence[Result]) -> str:
    """Format the table in Markdown, below a line that describes the machine."""
    return f"{machine()}\n\n{tabulate(rows(results), headers='keys', tablefmt='github')}\n"


def write(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write ``bench.md``, ``bench.json`` and ``bench.png`` into ``folder``; return their paths.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_plots()
    table, data, plot = (folder / f"bench.{suffix}" for suffix in ("md", "json", "png"))
    write_whole(table, markdown(results))
    content = {
        "machine": machine(),
        "stages": STAGES,
        "results": [_without_nan(asdict(result)) for result in results],
    }
    write_json(data, content)
    with unfinished(plot) as beside:
        draw(results, beside)
    return [table, data, plot]


def require_plots() -> None:
    """Check that plots can be drawn; call it before a long measurement.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_packages("matplotlib", extra="bench")


def draw(results: Sequence[Result], path: Path) -> None:
    """Plot milliseconds per frame over each axis that varies; over the number of queries if none does."""
    from matplotlib.figure import Figure

    varied = [name for name, value in _AXES.items() if len({value(r) for r in results}) > 1]
    varied = varied or ["queries"]
    figure = Figure(figsize=(6.5 * len(varied), 4.5))
    panels = figure.subplots(1, len(varied), squeeze=False)
    for panel, name in zip(panels[0], varied, strict=True):
        _draw_panel(panel, results, name)
    figure.tight_layout()
    figure.savefig(path, dpi=120, format="png")


def _draw_panel(panel: Axes, results: Sequence[Result], name: str) -> None:
    """Draw a line per model and engine over ``name``; other axes are held at their first value."""
    held = {other: value(results[0]) for other, value in _AXES.items() if other != name}
    shown = [r for r in results if all(_AXES[other](r) == value for other, value in held.items())]
    lines: dict[tuple[str, str], list[Result]] = {}
    for r in shown:
        lines.setdefault((r.model, r.engine), []).append(r)
    several = len({r.model for r in results}) > 1
    for (model, engine), points in lines.items():
        points.sort(key=_AXES[name])
        x = [_AXES[name](r) for r in points]
        label = f"{model} {engine}" if several else engine
        (line,) = panel.plot(x, [r.median for r in points], marker="o", label=label)
        low, high = zip(*(r.spread for r in points), strict=True)
        panel.fill_between(x, low, high, alpha=0.2, color=line.get_color())
    title = ", ".join(f"{other} {value}" for other, value in held.items())
    panel.set(xlabel=name, ylabel="ms per frame", title=title)
    _scale(panel, sorted({_AXES[name](r) for r in results}), [r.median for r in shown])
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)


def _scale(panel: Axes, ticks: Sequence[int], heights: Sequence[float]) -> None:
    """Scale the axes: x logarithmic; y from zero, or logarithmic if the values span more than a decade."""
    from matplotlib import ticker

    panel.set_xscale("log")
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.xaxis.set_minor_locator(ticker.NullLocator())
    if max(heights) <= 10 * min(heights):
        # On a logarithmic axis a few percent of noise would look like a slope.
        panel.set_ylim(bottom=0)
        return
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(ticker.ScalarFormatter())
    panel.yaxis.set_minor_formatter(ticker.ScalarFormatter())


def machine() -> str:
    """Describe processor, cores, load, GPU and versions in one line."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return f"{name}, {cores} cores (load {load:.1f}), {gpu}, PyTorch {torch.__version__}, {when}"
