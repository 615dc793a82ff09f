"""Bulk annotation by Ray Data: the same units, on the workers of one machine or of a cluster."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ovps_core.bulk.annotator import Annotator, Report
from ovps_core.bulk.units import Unit
from ovps_core.errors import OvpsError
from ovps_core.structures.requirements import require_packages


class RayExecutor:
    """Spreads units over workers. A unit whose worker dies is given to another one.

    Args:
        address: of a cluster, "auto" for the one of this machine; "" starts a Ray of its own here.
        workers: number of processes, each with the model.
        gpus: GPUs of each, which may be a fraction.
    """

    def __init__(self, address: str = "", *, workers: int = 2, gpus: float = 0.0) -> None:
        require_packages("ray", extra="ray")
        self._address, self._workers, self._gpus = address, workers, gpus

    def __call__(self, annotator: Annotator, units: Sequence[Unit]) -> Iterator[Report]:
        """Annotate units in any order.

        Raises:
            OvpsError: the first one of a worker.
        """
        import ray

        started = not ray.is_initialized()
        if started:
            options: dict[str, Any] = (
                {"address": self._address}
                if self._address
                else {
                    "num_cpus": self._workers,
                    "include_dashboard": False,
                }
            )
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            rows = [
                {"kind": unit.kind, "paths": list(unit.paths), "key": unit.key} for unit in units
            ]
            # one block for each unit: a unit is the piece that is given to another worker
            worker: Any = _Worker
            reports = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                worker,
                fn_constructor_args=(annotator,),
                concurrency=min(self._workers, len(rows)),
                num_gpus=self._gpus or None,
            )
            for row in reports.iter_rows():
                if row["error"]:
                    raise pickle.loads(row["error"])
                yield Report(row["key"], row["frames"], row["problem"])
        finally:
            if started:
                ray.shutdown()


class _Worker:
    """An actor of Ray: rows of units in, rows of reports out.

    An error of ours is a row too: Ray would raise one of its own, with the traceback of the worker as its message.
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            report = self._annotator(Unit(row["kind"], tuple(row["paths"]), row["key"]))
            return {**asdict(report), "error": b""}
        except OvpsError as error:
            return {**asdict(Report(row["key"], 0)), "error": pickle.dumps(error)}
