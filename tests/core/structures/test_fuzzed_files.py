"""Whatever a file holds, it is read or refused by an OvpsError; what contradicts itself is never accepted."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.miniature_benchmarks import HEIGHT, WIDTH, write_noise
from helpers.toy_models import write_toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ovps_core.checkpoints.file import read_info
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.segmentations import (
    decode_segmentation,
    encode_segmentation,
    segmentation_fault,
)
from ovps_core.errors import CheckpointError, DatasetError, ImageError, OvpsError
from ovps_core.structures.image_files import image_size, load_image

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**40), st.floats(), st.text(max_size=4),
    st.lists(st.integers(-5, 200), max_size=8), st.just({}),
)  # fmt: skip
IDS = st.one_of(st.integers(0, 3), ODD)
SEGMENTATIONS = st.one_of(
    ODD,
    st.lists(st.lists(st.one_of(st.floats(-5, 90), ODD), max_size=9), max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "size": st.one_of(ODD, st.just([HEIGHT, WIDTH])),
            "counts": st.one_of(ODD, st.text("0123456789:;<=>?@ABCHOPQRSTUV_`abco", max_size=20)),
        },
    ),
)


def entries(**keys: st.SearchStrategy) -> st.SearchStrategy:
    """A list of JSON objects with some of the keys, or of other things."""
    return st.lists(st.one_of(st.fixed_dictionaries({}, optional=keys), ODD), max_size=4)


FILES = st.fixed_dictionaries(
    {
        "images": entries(
            id=IDS,
            file_name=st.one_of(st.just("a.png"), ODD),
            width=st.one_of(st.just(WIDTH), ODD),
            neg_category_ids=ODD,
            not_exhaustive_category_ids=ODD,
        ),
        "annotations": entries(
            id=IDS, image_id=IDS, category_id=IDS, segmentation=SEGMENTATIONS, mask=ODD
        ),
        "categories": entries(id=IDS, object=ODD, part=ODD, name=ODD, supercategory=ODD),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coco")
    write_noise(path / "a.png", 0)
    write_toy("compact", path / "toy.safetensors")
    return path


@FEW
@given(content=FILES, object_name=st.sampled_from(["", "mug"]))
def test_any_coco_file_is_read_or_refused(folder: Path, content: object, object_name: str) -> None:
    (folder / "annotations.json").write_text(json.dumps(content))
    with contextlib.suppress(DatasetError):
        CocoFolder(folder, object_name=object_name)
    with contextlib.suppress(DatasetError):
        lenient = CocoFolder(folder, object_name=object_name, skip_broken=True, pseudo_labels=True)
        for image in lenient.images:
            assert (image.height, image.width) == (HEIGHT, WIDTH)
            for category, mask in lenient.masks(image, HEIGHT, WIDTH).items():
                assert category in lenient.categories and mask.shape == (HEIGHT, WIDTH)


VALID = {
    "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
    "annotations": [
        {"id": n, "image_id": 1, "category_id": n, "segmentation": [[5, 5, 40, 5, 40, 40]]}
        for n in (1, 2)
    ],
    "categories": [
        {"id": 1, "object": "mug", "part": "handle"},
        {"id": 2, "object": "mug", "part": "rim"},
    ],
}


@FEW
@given(data=st.data())
def test_a_valid_file_with_one_changed_value(folder: Path, data: st.DataObject) -> None:
    content = json.loads(json.dumps(VALID))
    kind = data.draw(st.sampled_from(sorted(content)))
    entry = data.draw(st.sampled_from(content[kind]))
    key = data.draw(st.sampled_from(sorted(entry)))
    entry[key] = data.draw(SEGMENTATIONS if key == "segmentation" else IDS)
    (folder / "annotations.json").write_text(json.dumps(content))
    try:
        accepted = CocoFolder(folder)
    except DatasetError as error:
        assert str(folder) in str(error)
        return
    (image,) = accepted.images
    assert len(image.annotations) == 2
    for each in image.annotations:
        assert each["category_id"] in (1, 2) and each["image_id"] == 1
        assert not segmentation_fault(each["segmentation"], HEIGHT, WIDTH)
    stated = content["images"][0]
    assert stated["width"] in (WIDTH, None) and stated["height"] in (HEIGHT, None)


@FEW
@given(segmentation=SEGMENTATIONS)
def test_a_segmentation_has_a_fault_exactly_if_it_is_not_decoded(segmentation: object) -> None:
    if not segmentation:
        return
    if segmentation_fault(segmentation, HEIGHT, WIDTH):
        with pytest.raises(DatasetError):
            decode_segmentation(segmentation, HEIGHT, WIDTH, "a")
    else:
        assert decode_segmentation(segmentation, HEIGHT, WIDTH, "a").shape == (HEIGHT, WIDTH)


@FEW
@given(data=st.data())
def test_run_lengths_come_back(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    cells = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(cells).reshape(height, width)
    packed = encode_segmentation(mask)
    assert (segmentation_fault(packed, height, width) == "") == bool(mask.any())
    if mask.any():
        np.testing.assert_array_equal(decode_segmentation(packed, height, width, "m"), mask)


def picture_bytes(suffix: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(file, suffix, exif=exif.tobytes())
    return file.getvalue()


PICTURES = {suffix: picture_bytes(suffix) for suffix in ("PNG", "JPEG", "WEBP", "TIFF")}


@FEW
@given(data=st.data(), suffix=st.sampled_from(sorted(PICTURES)))
def test_any_picture_is_rgb_of_its_size_or_refused(data: st.DataObject, suffix: str) -> None:
    content = bytearray(PICTURES[suffix])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    for given_bytes in (bytes(content), cut):
        with contextlib.suppress(ImageError):
            image = load_image(given_bytes)
            assert image.dtype == np.uint8 and image.shape == (*image_size(given_bytes), 3)


@FEW
@given(data=st.data())
def test_changed_headers_of_checkpoints_are_read_or_refused(
    folder: Path, data: st.DataObject
) -> None:
    whole = bytearray((folder / "toy.safetensors").read_bytes())
    header = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    path = folder / "fuzzed.safetensors"
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), header, header // 2, 0]))])
    with contextlib.suppress(CheckpointError):
        read_info(path)


@FEW
@given(
    config=st.one_of(ODD, st.dictionaries(st.sampled_from(["objects", "parts", "size", "x"]), ODD))
)
def test_any_configuration_of_a_checkpoint_is_read_or_refused(folder: Path, config: object) -> None:
    import torch
    from safetensors.torch import save_file

    path = folder / "configured.safetensors"
    header = {"name": "a", "model": "compact", "config": config}
    save_file({"a": torch.zeros(1)}, path, metadata={"ovps": json.dumps(header)})
    with contextlib.suppress(OvpsError):
        read_info(path)
