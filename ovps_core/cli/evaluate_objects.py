"""``ovps evaluate coco DIR --task panoptic``, and the other benchmarks of objects."""

from __future__ import annotations

import argparse

from ovps_core.cli.options import add_short_side_option, open_object_segmenter
from ovps_core.datasets.object_benchmarks import ObjectTask, open_benchmark
from ovps_core.errors import UsageError
from ovps_core.structures.whole_files import write_json


def add_object_arguments(group: argparse._ArgumentGroup) -> None:
    """Declare the options for benchmarks of objects."""
    group.add_argument(
        "--task",
        choices=[task.value for task in ObjectTask],
        default=ObjectTask.INSTANCE.value,
        help="panoptic: PQ; instance: AP of boxes and masks; detection: AP of boxes, without decoding masks; "
        "semantic: mean IoU; conditioned: AP of masks decoded from the true boxes and names",
    )
    group.add_argument(
        "--split", default="", help="split of the data set; by default val, of COCO val2017"
    )
    add_short_side_option(group)


def run_objects(args: argparse.Namespace) -> int:
    """Evaluate an object model, print the tables, write the JSON.

    Raises:
        OvpsError: the arguments, the data or the model cannot be used; the message says what to do.
    """
    from ovps_core.evaluation.objects import evaluate_objects
    from ovps_core.evaluation.result_tables import object_classes_table, objects_table

    if args.report:
        raise UsageError(f"{args.dataset} has no --report; use --json for the scores of all names")
    task = ObjectTask(args.task)
    dataset = open_benchmark(args.dataset, args.directory, task, args.split)
    # other engines are built for each size of pictures, of which data sets have many
    segmenter = open_object_segmenter(args, "torch" if args.backend == "auto" else args.backend)
    result = evaluate_objects(
        dataset, segmenter, task, limit=args.limit, pseudo_labels=args.pseudo_labels
    )
    print(f"{result.model} on {result.dataset}: {task.value}, {result.images} images")
    print(objects_table(result))
    print("\n" + object_classes_table(result))
    if result.pseudo_labels:
        print(
            f"\n{result.pseudo_labels} annotations are pseudo-labels: this is agreement of two models."
        )
    if args.json:
        write_json(args.json, result.as_dict())
    return 0
