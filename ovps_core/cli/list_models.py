"""``ovps models``: models that have a name, and their files."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from ovps_core.checkpoints import known_models, open_model
from ovps_core.checkpoints.file import sha256
from ovps_core.checkpoints.registry import DEFAULT_MODEL, models_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps models``."""
    parser.add_argument("--paths", action="store_true", help="also print the path of each file")
    parser.add_argument(
        "--words",
        nargs="?",
        const=DEFAULT_MODEL,
        default=argparse.SUPPRESS,
        metavar="MODEL",
        help=f"list the objects and parts that a model knows instead; by default of {DEFAULT_MODEL}",
    )


def run(args: argparse.Namespace) -> int:
    """Print the table of models, or the words of one."""
    if "words" in args:
        print(_words(args.words))
        return 0
    rows = []
    for model in known_models():
        files = model.files()
        row = {
            "model": model.name,
            "for": model.use,
            "licence": model.licence,
            "on disk": f"{sum(file.stat().st_size for file in files) / 1e6:.0f} MB"
            if files
            else "-",
            "sha256": sha256(files[0])[:12] if len(files) == 1 else "",
            "how to get": "" if files else model.how_to_get().split(":")[0].split(",")[0],
        }
        rows.append(row | ({"path": str(model.path)} if args.paths else {}))
    print(tabulate(rows, headers="keys"))
    own = set(models_folder().glob("*.safetensors")) - {model.path for model in known_models()}
    for path in sorted(own):
        print(f"your own: {path}")
    return 0


def _words(name: str) -> str:
    """A table of the objects and parts that a model knows; models with a text encoder take any words."""
    on_hub = any(model.name == name and model.hub for model in known_models())
    known = None if on_hub else open_model(name).info.config.vocabulary
    if known is None:
        return f"{name} takes any words."
    rows = [
        (name, ", ".join(part for owner, part in known.object_parts if owner == name))
        for name in sorted(known.objects)
    ]
    table = tabulate(rows, headers=("object", "parts seen in training"))
    return f"{table}\n\nparts, of any object or alone: {', '.join(known.parts)}"
