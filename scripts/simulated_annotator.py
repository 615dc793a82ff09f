"""Simulated annotator: submits pictures of a Label Studio project as a person does, with shapes from the truth.

Run ``python -m scripts.simulated_annotator SET TRUTH`` beside Label Studio, after ``ovps label open SET``.
A suggestion that is nearly right is accepted. One that is off is redrawn, a missing one is drawn, a wrong one is
deleted. Shapes are polygons, as a person draws them. Tasks that have an annotation are left alone.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ovps_core.datasets.coco_check import FolderImage
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.label_files import read_json
from ovps_core.labelling.project import RECORD, read_annotations
from ovps_core.labelling.regions import Region, from_results, to_results
from ovps_core.labelling.server import data_folder, find_server

ACCEPTED = 0.9
"""Least IoU of a suggestion that the annotator leaves as it is."""
TOUCHED = 0.3
"""Least IoU of a suggestion that the annotator changes; others are deleted and drawn anew."""


def annotate(
    suggested: Sequence[Mapping[str, Any]], truth: Sequence[Region], height: int, width: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Decide on each true part: name of the decision, and the results that are submitted to Label Studio."""
    left = {region.key: region for region in from_results(suggested, height, width, "suggestion")}
    for true in truth:
        ious = {
            key: (region.mask & true.mask).sum() / (region.mask | true.mask).sum()
            for key, region in left.items()
            if region.label == true.label
        }
        best = max(ious, key=lambda key: ious[key], default="")
        if best and ious[best] >= ACCEPTED:
            yield "accepted", [result for result in map(dict, suggested) if result["id"] == best]
        elif best and ious[best] >= TOUCHED:
            yield "redrawn", to_results(Region(best, true.label, true.mask), "polygon")
        else:
            yield "drawn", to_results(true, "polygon")
            continue
        del left[best]
    yield from (("deleted", []) for _ in left)


def true_regions(truth: CocoFolder, image: FolderImage, labels: Sequence[str]) -> list[Region]:
    """True masks of a picture that have a label."""
    instances = truth.instances(image, image.height, image.width)
    named = ((f"{c.object} {c.part}".strip(), mask) for _, c, mask in instances)
    return [
        Region(f"drawn-{number}", label, np.asarray(mask))
        for number, (label, mask) in enumerate(named)
        if label in labels and mask.any()
    ]


def main() -> None:
    """Submit pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("set", type=Path, help="data set whose project is open")
    parser.add_argument("truth", type=Path, help="the same pictures with true masks")
    parser.add_argument("--labels", nargs="+", required=True, help="parts to label")
    parser.add_argument("--tasks", type=int, default=16, help="number of pictures to submit")
    parser.add_argument("--url")
    parser.add_argument("--key")
    parser.add_argument("--data-dir", type=Path)
    args = parser.parse_args()
    server = find_server(args.url, args.key, data_folder(args.data_dir))
    client = server.client()
    truth = CocoFolder(
        args.truth, pseudo_labels=True
    )  # made by the simulated camera, so they are right
    shown = {Path(image.name).stem: image for image in truth.images}  # named by their stamps
    known = {image["id"] for image in read_annotations(args.set)["images"]}
    project = read_json(args.set / RECORD)["project"]
    tasks = [task for task in server.tasks(project) if task.data["image_id"] in known]
    counts: Counter[str] = Counter()
    submitted = sum(bool(task.annotations) for task in tasks)
    for task in tasks:
        if task.annotations or submitted >= args.tasks:
            continue
        image = shown[Path(task.data["file_name"]).stem]
        regions = true_regions(truth, image, args.labels)
        suggested = dict(task.predictions[0])["result"] if task.predictions else []
        results = []
        for what, shapes in annotate(suggested, regions, image.height, image.width):
            counts[what] += 1
            results += shapes
        client.annotations.create(id=task.id, result=results)
        submitted += 1
    print(f"{submitted} of {len(tasks)} pictures are submitted; masks: {dict(counts)}")


if __name__ == "__main__":
    main()
