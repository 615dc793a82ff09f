"""Rendered scenes as a COCO file of the objects that another file names, to score an object model on them."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovps_core.datasets.coco_folder import ANNOTATIONS
from ovps_core.datasets.label_files import read_json
from ovps_core.datasets.rendered_objects import write_coco
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.reader import RenderedScenes


def main() -> None:
    """Write the pictures and the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, help="folder of rendered scenes")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--names-of", type=Path, required=True, help="folder with annotations.json")
    args = parser.parse_args()
    names = {each["name"] for each in read_json(args.names_of / ANNOTATIONS)["categories"]}
    path = write_coco(RenderedScenes(args.scenes), args.out)
    content = read_json(path)
    kept = [each for each in content["categories"] if each["name"] in names]
    ids = {each["id"] for each in kept}
    found = [each for each in content["annotations"] if each["category_id"] in ids]
    write_json(path, {**content, "categories": kept, "annotations": found})
    print(f"{len(content['images'])} pictures with {len(found)} objects in {args.out}")


if __name__ == "__main__":
    main()
