"""``ovps segment PICTURE "mug handle" "mug rim" -o out.png``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.cli.options import (
    add_model_options,
    add_object_option,
    add_threshold_options,
    at_least,
    open_segmenter,
)
from ovps_core.cli.output import (
    check_inputs_stay,
    check_picture_name,
    check_pictures_are_no_masks,
    clear_masks,
    json_text,
    unread_json,
    write_masks,
)
from ovps_core.cli.pictures import (
    PICTURE_SUFFIXES,
    Picture,
    are_several,
    check_file_stems,
    is_picture,
    picture_files,
    read_pictures,
)
from ovps_core.cli.segment_report import Peaks, answer, rows, without_empty_columns
from ovps_core.errors import ImageError, QueryError, UsageError
from ovps_core.models.confidence import Confidence
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.drawing import draw_page
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import RefusedQuery

_EPILOG = (
    "Phrases that the model cannot answer are refused on stderr with the reason; the others are answered. "
    "Exit status: 0 if every phrase was answered, also if nothing was found; 1 if one was refused, or on an error."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps segment``."""
    parser.epilog = _EPILOG
    parser.add_argument("picture", type=Path, help="a picture, a folder of pictures, or a video")
    queries = parser.add_argument(
        "queries",
        nargs="+",
        default=[],
        help='parts to find: "mug handle", "rim of the mug", "knife"; further pictures with --ask',
    )
    parser.add_argument(
        "--ask",
        nargs="+",
        action=_Ask,
        queries=queries,
        default=[],
        metavar="QUERY",
        help='parts to find in all pictures named before: *.jpg --ask "mug handle"',
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="write the picture with its parts marked to this file (.png or .jpg); for several pictures a folder",
    )
    parser.add_argument(
        "--masks",
        type=Path,
        help="write one 0/255 PNG per part into this folder, in place of earlier ones",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON with the masks instead of the table; a list for several pictures",
    )
    add_threshold_options(parser)
    parser.add_argument(
        "--min-area",
        type=at_least(0),
        default=SegmentOptions().min_area,
        help="minimum number of pixels of a part",
    )
    parser.add_argument(
        "--max-parts",
        type=at_least(1),
        default=SegmentOptions().max_parts,
        help="maximum number of parts of a picture, highest score first (default: %(default)s)",
    )
    add_model_options(parser)
    add_object_option(parser)


class _Ask(argparse.Action):
    """Takes the parts to find, so that the positional ``queries`` may be missing, or are pictures."""

    def __init__(
        self, option_strings: list[str], dest: str, *, queries: argparse.Action, **settings: Any
    ) -> None:
        super().__init__(option_strings, dest, **settings)
        self._queries = queries

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Add phrases."""
        self._queries.required = False
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *values])


@dataclass(frozen=True)
class _Answer:
    """Result for one picture."""

    picture: Picture
    masks: PartMasks
    peaks: Peaks
    confidence: Confidence | None = None

    def as_json(self) -> dict[str, Any]:
        return answer(self.picture.name, self.masks, self.peaks, self.confidence)


@dataclass(frozen=True)
class _Unread:
    """A picture that cannot be read, or a video that cannot be read to its end."""

    name: str
    error: ImageError

    def as_json(self) -> dict[str, Any]:
        return unread_json(self.name, self.error)


def run(args: argparse.Namespace) -> int:
    """Segment pictures, write the files, print the parts.

    Raises:
        UsageError: there is nothing to find, or the output cannot be written.
        OutputError: a file cannot be written.
        ImageError: the only picture cannot be read.
    """
    paths, phrases = _pictures_and_phrases(args)
    several = are_several(paths) or bool(args.ask)
    files = picture_files(paths)
    _check_output(args.output, several)
    if several and (args.output or args.masks):
        check_file_stems(files)
    check_inputs_stay(_pages(args.output, files, several), [*files, Path(args.model)])
    pictures = read_pictures(paths)
    if not several:
        only = next(pictures)
        if isinstance(only.image, ImageError):
            if args.json:
                print(json_text(unread_json(only.name, only.image)))
            raise only.image
        pictures = iter((only,))
    segmenter = open_segmenter(args)
    options = SegmentOptions(
        score_threshold=args.score_threshold,
        mask_threshold=args.mask_threshold,
        min_area=args.min_area,
        max_parts=args.max_parts,
    )
    queries, refused = _encode(segmenter, phrases)
    for query in refused:
        print(f"ovps segment: {query.reason}", file=sys.stderr)
    if args.masks and queries is not None:
        _check_masks(args.masks, files, queries, several)
    entries: list[_Answer | _Unread] = []
    for picture in pictures:
        if isinstance(picture.image, ImageError):
            print(f"ovps segment: {picture.image}", file=sys.stderr)
            entries.append(_Unread(picture.name, picture.image))
            continue
        found = _segment(segmenter, picture, picture.image, queries, refused, options)
        if queries is not None:
            _write_files(args, picture.image, found, several)
        entries.append(found)
    answers = [each for each in entries if isinstance(each, _Answer)]
    if args.json:
        results = [each.as_json() for each in entries]
        print(json_text(results if several else results[0]))
    else:
        _print_table(answers, options, several)
    if not args.json and any(found.peaks for found in answers):
        for line in (*_unusual(answers, several), _advice(args, segmenter)):
            print(f"ovps segment: {line}", file=sys.stderr)
    return 1 if refused or len(answers) < len(entries) else 0


def _pictures_and_phrases(args: argparse.Namespace) -> tuple[list[Path], list[str]]:
    if args.ask:
        return [args.picture, *map(Path, args.queries)], args.ask
    files = [phrase for phrase in args.queries if is_picture(Path(phrase))]
    if files:
        raise UsageError(
            f"{files[0]!r} is a picture; with several pictures put --ask before the phrases"
        )
    return [args.picture], args.queries


def _check_output(output: Path | None, several: bool) -> None:
    if not several:
        check_picture_name(output)
    elif output is not None and (output.is_file() or output.suffix.lower() in PICTURE_SUFFIXES):
        raise UsageError(f"--output {output}: expected a folder for several pictures")


def _pages(output: Path | None, files: list[Path], several: bool) -> list[Path]:
    """Files that ``--output`` makes; those of videos have names of their own."""
    if output is None:
        return []
    return [output / f"{file.stem}.png" for file in files] if several else [output]


def _check_masks(folder: Path, files: list[Path], queries: EncodedQueries, several: bool) -> None:
    if several:
        check_pictures_are_no_masks({folder / file.stem for file in files}, files)
    else:
        check_pictures_are_no_masks([folder], files, {query.text for query in queries.queries})


def _encode(
    segmenter: PartSegmenter, phrases: list[str]
) -> tuple[EncodedQueries | None, tuple[RefusedQuery, ...]]:
    """Encoded phrases, and those refused; None if every phrase is refused."""
    try:
        queries = segmenter.encode_queries(phrases)
    except QueryError as error:
        return None, error.refused
    return queries, queries.refused


def _segment(
    segmenter: PartSegmenter,
    picture: Picture,
    image: RgbImage,
    queries: EncodedQueries | None,
    refused: tuple[RefusedQuery, ...],
    options: SegmentOptions,
) -> _Answer:
    if queries is None:
        height, width = image.shape[:2]
        empty = PartMasks(height, width, (), (), segmenter.name, refused)
        return _Answer(picture, empty, {})
    encoded = segmenter.encode(image)
    masks = segmenter.segment(encoded, queries, options)
    peaks: Peaks = {}
    if not all(map(masks.of, masks.queries)):
        found = zip(queries.queries, segmenter.find_peaks(encoded, queries), strict=True)
        peaks = {query: peak for query, peak in found if not masks.of(query)}
    return _Answer(picture, masks, peaks, segmenter.confidence(encoded))


def _write_files(args: argparse.Namespace, image: RgbImage, found: _Answer, several: bool) -> None:
    masks, stem = found.masks, found.picture.file_stem
    if args.output:
        path = args.output / f"{stem}.png" if several else args.output
        save_image(path, draw_page(image, masks))
    if args.masks:
        folder = args.masks / stem if several else args.masks
        # a folder of one picture holds its last answers only; another may hold those of other phrases too
        clear_masks(folder, None if several else {query.text for query in masks.queries})
        write_masks(folder, masks)


def _print_table(answers: list[_Answer], options: SegmentOptions, several: bool) -> None:
    table = without_empty_columns(list(_rows(answers, options, several)))
    if table:
        print(tabulate(table, headers="keys", floatfmt=".2f"))


def _rows(
    answers: list[_Answer], options: SegmentOptions, several: bool
) -> Iterator[dict[str, object]]:
    for found in answers:
        for row in rows(found.masks, found.peaks, options):
            yield {"picture": found.picture.name, **row} if several else row


def _unusual(answers: list[_Answer], several: bool) -> Iterator[str]:
    """A line for each picture without some part that is unlike the training pictures."""
    for found in answers:
        confidence = found.confidence
        if found.peaks and confidence is not None and confidence.is_unusual:
            name = found.picture.name if several else "the picture"
            yield (
                f"{name} is unlike those that the model was trained on: "
                f"confidence {confidence.mean:.2f}, usually at least {confidence.usual:.2f}"
            )


def _advice(args: argparse.Namespace, segmenter: PartSegmenter) -> str:
    """Advice for what was not found."""
    lower = "lower --score-threshold and --mask-threshold to see weaker answers"
    if args.model == DEFAULT_MODEL or segmenter.spec.vocabulary is not None:
        lower += "; for photographs try --model clipseg-rd64-refined (needs PyTorch and a download)"
    return lower
