"""Writer of large COCO files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ovps_core.structures.whole_files import unfinished


def write_coco(
    path: Path,
    annotations: Iterable[Mapping[str, Any]],
    others: Callable[[], Mapping[str, Any]],
) -> None:
    """Write a COCO file annotation by annotation, so that a large one does not have to fit into memory.

    Args:
        path: the file; it is replaced as a whole.
        annotations: in their order.
        others: gives the other keys, such as images and categories, after the last annotation.

    Raises:
        OutputError: the file cannot be written.
    """
    with unfinished(path) as beside, beside.open("w", encoding="utf-8") as stream:
        stream.write('{"annotations": [')
        separator = "\n"
        for annotation in annotations:
            stream.write(separator + json.dumps(annotation))
            separator = ",\n"
        stream.write(f"\n], {json.dumps(others())[1:]}\n")
