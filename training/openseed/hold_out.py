"""Hold categories of a COCO file out from mask labels: ``python -m training.openseed.hold_out FILE mug kettle``.

This is the question of OpenSeeD's Table 1: does a network decode masks of categories of which it saw boxes only?
Beside FILE.json it writes

- ``known.json``: the other categories, with their masks; the held-out objects are not labelled,
- ``boxes.json``: all categories, with boxes only,
- ``new.json``: the held-out categories alone, with their masks, to evaluate on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ovps_core.datasets.label_files import read_json
from ovps_core.errors import OvpsError, UsageError
from ovps_core.structures.whole_files import write_json


def hold_out(source: Path, names: Collection[str]) -> dict[str, Path]:
    """Write the three files; returns their paths by name.

    Args:
        source: a COCO file of instances.
        names: categories that are held out.

    Raises:
        UsageError: a name is no category of the file, or all are.
        DatasetError: the file is missing or is not JSON.
        OutputError: a file cannot be written.
    """
    content = read_json(source)
    categories = {str(each["name"]): each["id"] for each in content["categories"]}
    unknown = set(names) - set(categories)
    if unknown or not set(categories) - set(names):
        raise UsageError(
            f"{source} has the categories {', '.join(categories)}; hold out some of them, given: "
            f"{', '.join(names)}"
        )
    held_out = {categories[name] for name in names}
    known = set(categories.values()) - held_out
    boxes = [
        {key: value for key, value in each.items() if key != "segmentation"}
        for each in content["annotations"]
    ]
    parts = {
        "known": _only(content, known),
        "boxes": {**content, "annotations": boxes},
        "new": _only(content, held_out),
    }
    paths = {name: source.with_name(f"{name}.json") for name in parts}
    for name, part in parts.items():
        write_json(paths[name], part)
    return paths


def _only(content: dict[str, Any], ids: Collection[Any]) -> dict[str, Any]:
    return {
        **content,
        "categories": [each for each in content["categories"] if each["id"] in ids],
        "annotations": [each for each in content["annotations"] if each["category_id"] in ids],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, prog="training.openseed.hold_out")
    parser.add_argument("source", type=Path, help="a COCO file of instances")
    parser.add_argument("names", nargs="+", help="categories without masks in training")
    args = parser.parse_args(arguments)
    try:
        for path in hold_out(args.source, args.names).values():
            print(path)
    except OvpsError as error:
        print(f"hold_out: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
