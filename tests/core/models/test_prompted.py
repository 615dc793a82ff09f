"""SAM 3 models of transformers behind our interface: the masks that transformers itself answers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.paths import ROOT
from helpers.tiny_sam3 import KINDS, SIDE, processor, tiny_model, write_folder
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from ovps_core.checkpoints import open_model
from ovps_core.errors import BackendError, CheckpointError, UsageError
from ovps_core.models.prompted.sam3 import Sam3
from ovps_core.object_segmenter import ObjectSegmenter
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import to_pixels
from ovps_core.segmenter import PartSegmenter

PROMPTS = ["knife handle", "mug rim", "pan"]
RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 255, (240, 320, 3), dtype=np.uint8)
SQUARE = RANDOM.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(kind, tmp_path_factory.mktemp("hub") / kind)


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> PartSegmenter:
    return PartSegmenter.from_pretrained(folder)


def instances_of_transformers(
    kind: str, picture: NDArray[np.uint8], size: tuple[int, int] | None, threshold: float = 0.0
) -> list[dict[str, torch.Tensor]]:
    """Instances of each prompt, by transformers' own code from the picture to masks."""
    inputs = processor()(images=[picture] * len(PROMPTS), text=PROMPTS, return_tensors="pt")
    wanted = ("pixel_values", "input_ids", "attention_mask")
    network = tiny_model(kind)
    network = getattr(network, "detector_model", network)  # of the video model
    with torch.inference_mode():
        outputs = network(**{name: inputs[name] for name in wanted})
    return processor().post_process_instance_segmentation(
        outputs, threshold, target_sizes=size and [size] * len(PROMPTS)
    )


def masks_of_transformers(
    kind: str, picture: NDArray[np.uint8], size: tuple[int, int] | None
) -> NDArray[np.bool_]:
    """Union of the instances of each prompt with a score above 0.5, bool [Q, h, w]."""
    found = instances_of_transformers(kind, picture, size, 0.5)
    everything = instances_of_transformers(kind, picture, size)
    assert sum(len(each["scores"]) for each in found) > 0
    assert len(found[0]["scores"]) < len(everything[0]["scores"])
    return np.stack([each["masks"].any(0).numpy() for each in found])


def test_masks_are_those_of_transformers(kind: str, segmenter: PartSegmenter) -> None:
    expected = masks_of_transformers(kind, SQUARE, None)
    maps = segmenter.query_maps([SQUARE], segmenter.encode_queries(PROMPTS))[0]
    clear = np.abs(maps) > 1e-4  # the others may round to either side
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((maps > 0)[clear], expected[clear])


def masks_of_parts(
    segmenter: PartSegmenter, picture: NDArray[np.uint8], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Union of the parts of each prompt, bool [Q, H, W]."""
    found = segmenter.segment(picture, PROMPTS, SegmentOptions(min_area=1, max_parts=10_000))
    union = np.zeros((len(PROMPTS), *size), bool)
    for part in found.parts:
        union[PROMPTS.index(part.query.text)] |= part.full(*size)
    return union


def test_parts_of_a_picture_of_the_maps_size_are_those_masks(
    kind: str, segmenter: PartSegmenter
) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    expected = masks_of_transformers(kind, picture, (32, 32))
    found = masks_of_parts(segmenter, picture, (32, 32))
    # Pixels of the resized picture may differ by a grey level.
    assert (found != expected).mean() < 0.002


def test_parts_of_a_large_picture_end_within_a_cell_of_those_masks(
    kind: str, segmenter: PartSegmenter
) -> None:
    """Between cells transformers interpolates probabilities, and OVPS the smaller of score and mask."""
    size = PICTURE.shape[:2]
    expected = masks_of_transformers(kind, PICTURE, size)
    found = masks_of_parts(segmenter, PICTURE, size)
    reach = np.ones((2 * 240 // 32 + 1, 2 * 320 // 32 + 1), np.uint8)  # a cell to every side
    for ours, theirs in zip(found, expected, strict=True):
        surely, perhaps = (
            change(theirs.astype(np.uint8), reach) > 0 for change in (cv2.erode, cv2.dilate)
        )
        assert ours[surely].mean() > 0.99 if surely.any() else True
        assert perhaps[ours].mean() > 0.99 if ours.any() else True


def test_pixels_are_those_of_transformers(segmenter: PartSegmenter) -> None:
    expected = processor()(images=PICTURE, return_tensors="pt")["pixel_values"]
    ours = to_pixels(PICTURE, segmenter.spec.preprocessing)
    grey_level = 2 / 255
    assert (ours - expected).abs().max() <= 1.01 * grey_level


def test_objects_are_the_instances_of_transformers(kind: str, folder: Path) -> None:
    expected = instances_of_transformers(kind, SQUARE, None)
    found = ObjectSegmenter.from_pretrained(folder).detect(SQUARE, PROMPTS, score_threshold=0.001)
    for prompt, theirs in zip(PROMPTS, expected, strict=True):
        ours = [each for each in found.objects if each.name == prompt]
        assert len(ours) == len(theirs["scores"]) > 0
        boxes = torch.tensor([each.predicted_box for each in ours])
        distances = torch.cdist(boxes, theirs["boxes"] * SIDE)
        assert distances.amin(1).max() < 1e-2  # each object has its instance
        assert sorted(distances.argmin(1).tolist()) == list(range(len(ours)))


def test_its_objects_hold_the_parts_of_another_model(tmp_path: Path) -> None:
    folder = write_folder("sam3_lite_text", tmp_path / "sam3")
    segmenter = PartSegmenter.from_pretrained("ovps-tiny", backend="torch", objects=str(folder))
    found = segmenter.segment(ROOT / "docs" / "images" / "table.jpg", ["mug handle"])
    objects = {each.id: each.name for each in found.objects}
    assert set(objects.values()) == {"mug"}
    assert all(objects[part.object_id] == "mug" for part in found.parts)


def test_a_sam3_does_not_take_boxes(folder: Path) -> None:
    segmenter = ObjectSegmenter.from_pretrained(folder)
    with pytest.raises(UsageError, match="ask it for the name"):
        segmenter.decode_masks(SQUARE, [(0, 0, 9, 9)], ["mug"])
    with pytest.raises(UsageError, match="one input size"):
        ObjectSegmenter.from_pretrained(folder, short_side=512)


def test_an_image_is_encoded_once_and_each_prompt_answers_for_itself(
    segmenter: PartSegmenter,
) -> None:
    model = segmenter.model
    assert isinstance(model, Sam3)
    passes: list[int] = []
    hook = model.network.vision_encoder.register_forward_hook(
        lambda _, inputs, output: passes.append(1)
    )
    encoded = segmenter.encode(PICTURE)
    many = [f"{name} handle" for name in ("knife", "mug", "pan", "pot", "jug", "fork", "cup")]
    together = segmenter.engine.decode_image(
        encoded.features, segmenter.encode_queries(many).conditions
    ).names
    for row, phrase in enumerate(many):
        alone = segmenter.engine.decode_image(
            encoded.features, segmenter.encode_queries(phrase).conditions
        ).names
        torch.testing.assert_close(alone[:, 0], together[:, row], rtol=1e-4, atol=1e-4)
    hook.remove()
    assert len(passes) == 1


def test_a_batch_answers_as_its_images_do_alone(segmenter: PartSegmenter) -> None:
    queries = segmenter.encode_queries(PROMPTS)
    together = segmenter.query_maps([PICTURE, SQUARE], queries)
    for image, maps in zip([PICTURE, SQUARE], together, strict=True):
        np.testing.assert_allclose(segmenter.query_maps([image], queries)[0], maps, atol=1e-4)


def test_a_new_segmenter_finds_its_prompts_in_the_cache(folder: Path) -> None:
    first = PartSegmenter.from_pretrained(folder)
    rows = first.encode_queries("copper kettle").conditions.names
    second = PartSegmenter.from_pretrained(folder)
    assert second.query_encoder.text_encoder is not None
    second.query_encoder.text_encoder.tower = torch.nn.Linear(1, 1)  # cannot read tokens
    torch.testing.assert_close(second.encode_queries("copper kettle").conditions.names, rows)


def test_a_prompt_beyond_the_context_is_refused_and_the_others_are_answered(
    segmenter: PartSegmenter,
) -> None:
    found = segmenter.segment(PICTURE, ["pan", "the extraordinarily long handle of a soup ladle"])
    assert [query.text for query in found.queries] == ["pan"]
    (refused,) = found.refused
    assert "too long for the 32 tokens" in refused.reason


def test_it_warms_up_and_runs_in_pytorch_only(folder: Path, segmenter: PartSegmenter) -> None:
    segmenter.warm_up()
    assert segmenter.engine.name == "torch"
    with pytest.raises(BackendError, match="use torch"):
        PartSegmenter.from_pretrained(folder, backend="onnxruntime")


def test_weights_that_lack_a_tensor_are_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in state if name.endswith("text_projection.weight"))
    del state[lost]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack 1 tensors.*text_projection\.weight"):
        _ = open_model(tmp_path).loaded


def test_a_damaged_folder_is_one_line(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x01\x02\x03" * 1000)
    with pytest.raises(CheckpointError, match="transformers cannot load") as caught:
        _ = open_model(tmp_path).loaded
    assert "\n" not in str(caught.value)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        open_model(tmp_path)
