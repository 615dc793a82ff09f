"""Options of ``ovps train`` that teach a trained model new objects: which words of the data are new.

::

    ovps train frames/ scenes/ --from ovps-tiny --objects valve --words valve=tap,"gate valve"
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import UsageError
from ovps_core.synthetic.reader import RenderedScenes, is_rendered

RECIPE = "objects"
"""Recipe of such a run, unless another is given."""


def add_object_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("new objects for a compact model")
    group.add_argument(
        "--from", dest="start", metavar="MODEL", help="weights to start from, by name or file"
    )
    group.add_argument(
        "--objects",
        nargs="+",
        default=[],
        metavar="NAME",
        help="objects to learn, new ones or known ones; their parts are those that the data label. Without a "
        "recipe and without it: all objects of the labelled pictures",
    )
    group.add_argument(
        "--keep",
        nargs="+",
        default=[],
        metavar="NAME",
        help="known objects that the model keeps; all without it",
    )
    group.add_argument(
        "--words",
        nargs="+",
        default=[],
        metavar="NAME=WORD,...",
        help='other words for an object or a part: valve=tap,"gate valve"',
    )


def object_overrides(
    args: argparse.Namespace, data: Sequence[Path], *, all_labelled: bool = False
) -> list[str]:
    """Values of the recipe that the options stand for, as ``KEY=VALUE``.

    Args:
        args: with the options.
        data: folders and files to learn from.
        all_labelled: if no objects are named, learn all that have a mask in pictures which are not rendered.

    Raises:
        UsageError: the options contradict each other, or the data label no part of an object.
        DatasetError: the data cannot be read.
    """
    if not args.start:
        if args.objects or args.keep or args.words:
            raise UsageError(
                "--objects, --keep and --words change a trained model: give it with --from"
            )
        return []
    sources = [
        RenderedScenes(path)
        if is_rendered(path)
        else CocoFolder(path, pseudo_labels=True, objects=args.objects)
        for path in data
    ]
    labelled = [pair for source in sources for pair in _labelled(source)]
    names = args.objects
    if all_labelled and not names:
        photographs = [source for source in sources if isinstance(source, CocoFolder)]
        shown = {category for source in photographs for category in source.annotated}
        names = sorted({category.object for category in shown if category.object and category.part})
    objects = [[name, *_parts_of(name, labelled)] for name in names]
    values = {
        "model.start": args.start,
        "model.objects": objects,
        "model.keep": args.keep,
        "model.words": [_other_words(text) for text in args.words],
    }
    return [f"{key}={json.dumps(value)}" for key, value in values.items() if value]


def is_data(path: Path) -> bool:
    """True for a folder of pictures or a COCO file, False for a recipe."""
    return path.is_dir() or path.suffix == ".json"


def _labelled(source: RenderedScenes | CocoFolder) -> Iterable[tuple[str, str]]:
    """Every (object, part) that a folder labels."""
    if isinstance(source, RenderedScenes):
        return source.object_parts
    return [(category.object, category.part) for category in source.categories]


def _parts_of(name: str, labelled: Iterable[tuple[str, str]]) -> list[str]:
    named = [pair for pair in labelled if pair[0] and pair[1]]
    parts = list(dict.fromkeys(part for object_name, part in named if object_name == name))
    if not parts:
        known = ", ".join(sorted({object_name for object_name, _ in named})) or "no object"
        raise UsageError(
            f"the data label no part of {name!r}, but of: {known}. Give the labelled frames, with categories "
            f'such as {{"object": "{name}", "part": "handle"}}'
        )
    return parts


def _other_words(text: str) -> list[str]:
    name, separator, words = text.partition("=")
    others = [word.strip() for word in words.split(",") if word.strip()]
    if not (name.strip() and separator and others):
        raise UsageError(f"--words {text!r}; expected NAME=WORD,WORD such as valve=tap,stopcock")
    return [name.strip(), *others]
