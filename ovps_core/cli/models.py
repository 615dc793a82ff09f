"""``ovps models``: what can be named, what is on disk."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from ovps_core.checkpoints import known_models
from ovps_core.checkpoints.file import sha256
from ovps_core.checkpoints.registry import models_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps models``."""
    parser.add_argument(
        "--paths", action="store_true", help="also say where each file is or belongs"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table of models."""
    rows = []
    for model in known_models():
        there = model.path.is_file()
        row = {
            "model": model.name,
            "for": model.use,
            "licence": model.licence,
            "on disk": f"{model.path.stat().st_size / 1e6:.0f} MB" if there else "-",
            "sha256": sha256(model.path)[:12] if there else "",
            "how to get": "" if there else model.how_to_get().split(":")[0].split(",")[0],
        }
        rows.append(row | ({"path": str(model.path)} if args.paths else {}))
    print(tabulate(rows, headers="keys"))
    own = set(models_folder().glob("*.safetensors")) - {model.path for model in known_models()}
    for path in sorted(own):
        print(f"your own: {path}")
    return 0
