"""Find parts in every picture of a folder; write one overlay per picture and one JSON for all.

Run ``python examples/segment_folder.py docs/images out "knife handle" "mug handle"``.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ovps_core import PartSegmenter
from ovps_core.errors import ImageError, OvpsError
from ovps_core.pipeline.drawing import draw_masks
from ovps_core.pipeline.masks_json import masks_json
from ovps_core.pipeline.preprocess import image_paths
from ovps_core.structures.image_files import load_image


def main(arguments: Sequence[str] | None = None) -> None:
    """Segment the folder; a picture that cannot be read is named, the others are answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("out", type=Path, help="folder for the overlays and masks.json")
    parser.add_argument("queries", nargs="+", help='parts to find: "mug handle"')
    parser.add_argument("--model", default="ovps-tiny", help="a name from `ovps models`, or a file")
    args = parser.parse_args(arguments)

    args.out.mkdir(parents=True, exist_ok=True)
    segmenter = PartSegmenter.from_pretrained(args.model)
    queries = segmenter.encode_queries(args.queries)  # once for all pictures
    for refused in queries.refused:
        print(refused.reason, file=sys.stderr)
    answers = []
    for path in image_paths(args.pictures):
        try:
            image = load_image(path)
        except ImageError as error:
            print(error, file=sys.stderr)
            continue
        masks = segmenter.segment(image, queries)
        Image.fromarray(draw_masks(image, masks)).save(args.out / f"{path.name}.png")
        answers.append({"image": path.name, **masks_json(masks)})
        print(f"{path.name}: {len(masks.parts)} parts")
    (args.out / "masks.json").write_text(json.dumps(answers, indent=1))


if __name__ == "__main__":
    try:
        main()
    except OvpsError as error:
        sys.exit(str(error))
