"""``ovps label serve | open SET | save SET | spread SET``: labelling by people with Label Studio."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from ovps_core.cli.options import at_least, probability
from ovps_core.labelling.project import open_project, require_server, save_labels
from ovps_core.labelling.server import (
    LOG,
    data_folder,
    find_server,
    prepare_server,
    start_server,
)
from ovps_core.labelling.spread import SpreadOptions, spread_labels

_PORT = 8080
_PAUSE = 0.5  # seconds between looks at the server
_LINES = 12  # of the server's log, if it ends by itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps label``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    serve = actions.add_parser("serve", help="start Label Studio on this machine, with SQLite")
    serve.add_argument("--port", type=at_least(1), default=_PORT)
    _add_data_folder(serve)
    opening = actions.add_parser("open", help="make a project of a data set, masks as suggestions")
    _add_set(opening)
    opening.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="PHRASE",
        help="further objects and parts to label, beside the categories of the data set: 'valve wheel'",
    )
    opening.add_argument(
        "--shape",
        choices=("brush", "polygon"),
        default="brush",
        help="how suggested masks are shown: brushes keep every pixel, polygons are easier to move; "
        "a mask that they do not give back stays a brush",
    )
    saving = actions.add_parser("save", help="merge what people submitted into annotations.json")
    _add_set(saving)
    for each in (opening, saving):
        _add_server(each)
    spreading = actions.add_parser(
        "spread", help="carry masks of people to neighbouring frames of the recording"
    )
    _add_set(spreading)
    _add_spread_options(spreading)


def run(args: argparse.Namespace) -> int:
    """Serve, open, save or spread."""
    if args.action == "spread":
        options = SpreadOptions(args.max_frames, args.min_share, args.min_agreement)
        return _print_counts(args.set, spread_labels(args.set, options))
    folder = data_folder(args.data_dir)
    if args.action == "serve":
        return _serve(folder, args.port)
    server = find_server(args.url, args.key, folder)
    require_server(server)
    if args.action == "open":
        project = open_project(args.set, server, labels=args.labels, shape=args.shape)
        print(f"label at {project.page}")
        if server.password:
            print(f"log in as {server.user} with the password {server.password}")
        print(f"then: ovps label save {args.set}")
        return 0
    return _print_counts(args.set, save_labels(args.set, server))


def _print_counts(folder: Path, counts: Mapping[str, int]) -> int:
    print(tabulate(counts.items(), headers=(str(folder), "")))
    return 0


def _serve(folder: Path, port: int) -> int:
    server = prepare_server(folder, port)
    process = start_server(server, folder)
    ready = False
    try:
        print(f"{server.url}: log in as {server.user} with the password {server.password}")
        print(
            f"the data are in {folder}; the first start takes minutes; Ctrl-C ends it", flush=True
        )
        while process.poll() is None:
            if not ready and server.is_up():
                ready = True
                print("Label Studio is ready", flush=True)
            time.sleep(_PAUSE)
        last = (folder / LOG).read_text("utf-8", "replace").splitlines()[-_LINES:]
        print(f"Label Studio ended; the end of {folder / LOG}:", *last, sep="\n", file=sys.stderr)
        return process.returncode
    finally:
        process.terminate()
        process.wait()


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "set", type=Path, metavar="SET", help="a folder with annotations.json, of ovps bag extract"
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="address of the server; our own without it")
    parser.add_argument("--key", help="API key of a user of that server")
    _add_data_folder(parser)


def _add_spread_options(parser: argparse.ArgumentParser) -> None:
    default = SpreadOptions()
    parser.add_argument(
        "--max-frames",
        type=at_least(1),
        default=default.max_frames,
        help="frames over which a mask is carried, in both directions",
    )
    parser.add_argument(
        "--min-share",
        type=probability,
        default=default.min_share,
        help="a mask ends where a smaller share of its pixels can be followed",
    )
    parser.add_argument(
        "--min-agreement",
        type=probability,
        default=default.min_agreement,
        help="pseudo-labels whose IoU with the neighbouring frames is less become regions, which are not learned",
    )


def _add_data_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="data of our own server; ~/.local/share/ovps/label-studio without it",
    )
