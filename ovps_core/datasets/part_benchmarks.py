"""Table of the benchmarks of parts, by the name of their vocabulary."""

from __future__ import annotations

from ovps_core.datasets.ade20k_part import ADE20KPart234
from ovps_core.datasets.benchmark_reader import BenchmarkReader
from ovps_core.datasets.partimagenet import PartImageNet
from ovps_core.datasets.pascal_part import PascalPart116

PART_BENCHMARKS: dict[str, type[BenchmarkReader]] = {
    reader.name: reader for reader in (PascalPart116, ADE20KPart234, PartImageNet)
}
