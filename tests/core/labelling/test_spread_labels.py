"""Masks of people that are carried to neighbouring frames, and pseudo-labels that agree over time."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ovps_core.bulk.collect import write_data_set
from ovps_core.cli import main
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.posed_camera import PosedCamera
from ovps_core.datasets.segmentations import decode_segmentation, encode_segmentation
from ovps_core.errors import BackendError, DatasetError
from ovps_core.labelling import flow, spread
from ovps_core.labelling.merge import Submission, merge, region_key
from ovps_core.labelling.regions import Region
from ovps_core.labelling.spread import SpreadOptions, spread_labels
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import mask_iou
from ovps_core.structures.whole_files import write_json

pytest.importorskip("mujoco")
pytest.importorskip("trimesh")

if TYPE_CHECKING:
    from ovps_core.synthetic.live import Frame

HEIGHT, WIDTH, FRAMES = 120, 160, 8
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@pytest.fixture(scope="module")
def rendered() -> list[tuple[np.ndarray, Mask]]:
    """Pictures of a camera that circles a pan at 10 frames a second, with the true mask of the pan."""
    return [(frame.rgb, frame.masks["pan", ""]) for frame in circling(FRAMES, 0.1)]


def circling(count: int, seconds: float) -> list[Frame]:
    from ovps_core.synthetic.live import LiveScene

    try:
        scene = LiveScene(["pan", "mug"], seed=3, width=WIDTH, height=HEIGHT)
    except BackendError as error:
        pytest.skip(str(error))
    frames = [scene.frame(k * seconds) for k in range(count)]
    scene.close()
    return frames


def person(image: int, mask: Mask, **keys: Any) -> dict[str, Any]:
    own = {"id": 100 + image, "image_id": image, "category_id": 1, "object": "pan", "part": ""}
    return {**own, "segmentation": encode_segmentation(mask), "origin": "drawn", **keys}


def teacher(image: int, mask: Mask, **keys: Any) -> dict[str, Any]:
    made = {"id": image + 1, "origin": "", "score": 0.6, "pseudo_label": True}
    return person(image, mask, **{**made, **keys})


def data_set(folder: Path, pictures: list[np.ndarray], annotations: list[dict[str, Any]]) -> Path:
    images = []
    for k in reversed(range(len(pictures))):  # the order of the file is not that of the recording
        save_image(folder / "frames" / f"{k}.png", pictures[k])
        images.append({"id": k, "file_name": f"frames/{k}.png", "stamp_ns": 10**9 * k})
    categories = [{"id": 1, "object": "pan", "part": ""}, {"id": 2, "object": "mug", "part": ""}]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / "annotations.json", coco)
    return folder


def saved(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "annotations.json").read_text())["annotations"])


def mask_of(annotation: dict[str, Any]) -> Mask:
    return decode_segmentation(annotation["segmentation"], HEIGHT, WIDTH, "test")


def test_a_mask_follows_its_object_to_the_last_frame(tmp_path: Path, rendered: Any) -> None:
    pictures, truth = [rgb for rgb, _ in rendered], [mask for _, mask in rendered]
    drawn = person(0, truth[0])
    folder = data_set(tmp_path, pictures, [drawn])
    assert mask_iou(truth[0], truth[-1]) < 0.75, "the camera moves"
    counts = spread_labels(folder)
    assert counts["masks that were carried"] == counts["pictures that masks were carried to"] == 7
    first, *carried = saved(folder)
    assert first == drawn
    assert sorted(each["image_id"] for each in carried) == list(range(1, FRAMES))
    for each in carried:
        assert mask_iou(mask_of(each), truth[each["image_id"]]) >= 0.8
        assert each["origin"] == "propagated" and each["object"] == "pan"
        assert (each["source_image_id"], each["source_id"]) == (0, 100)
        assert 0.7 <= each["score"] <= 1 and each["pseudo_label"]
    with pytest.raises(DatasetError, match="7 of 8 annotations are pseudo-labels"):
        CocoFolder(folder)
    assert CocoFolder(folder, labelled_only=True).unlabelled == 7
    content = (folder / "annotations.json").read_bytes()
    assert spread_labels(folder) == counts
    assert (folder / "annotations.json").read_bytes() == content, "twice gives the same file"


def test_masks_of_people_stay_and_those_of_the_model_are_replaced(
    tmp_path: Path, rendered: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, truth = [rgb for rgb, _ in rendered], [mask for _, mask in rendered]
    elsewhere = np.zeros((HEIGHT, WIDTH), bool)
    elsewhere[:8, :8] = True
    assert not (elsewhere & truth[2]).any()
    mine = [person(0, truth[0]), person(4, truth[4][::-1])]
    model = [teacher(k, truth[k] & (np.arange(WIDTH) < 60)) for k in (2, 3)]
    model += [teacher(2, elsewhere, id=8), teacher(2, truth[2], id=9, category_id=2)]
    folder = data_set(tmp_path, pictures, mine + model)
    assert main(["label", "spread", str(folder), "--max-frames", "2"]) == 0
    assert "masks that were carried" in capsys.readouterr().out
    content = (folder / "annotations.json").read_bytes()
    after = {each["id"]: each for each in saved(folder)}
    assert [after[each["id"]] for each in mine] == mine
    assert 3 not in after and {8, 9} <= set(after), "only what lies there and has the same name"
    carried = [each for each in after.values() if each["origin"] == "propagated"]
    assert {1, 2} <= {e["image_id"] for e in carried if e["source_image_id"] == 0} <= {1, 2}
    assert {e["image_id"] for e in carried if e["source_image_id"] == 4} <= {2, 3, 5, 6}
    assert main(["label", "spread", str(folder), "--max-frames", "2"]) == 0
    assert (folder / "annotations.json").read_bytes() == content


def test_each_pair_of_frames_is_searched_once_and_forgotten_ones_again(
    tmp_path: Path, rendered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, truth = [rgb for rgb, _ in rendered], [mask for _, mask in rendered]
    labels = [person(k, truth[k]) for k in (1, 5)] + [teacher(k, truth[k]) for k in (0, 3, 5, 7)]
    searched, search = [], flow._search

    def counted(first: Path, second: Path) -> Any:
        searched.append({first.name, second.name})
        return search(first, second)

    monkeypatch.setattr(flow, "_search", counted)
    spread_labels(data_set(tmp_path / "kept", pictures, labels))
    assert len(searched) == FRAMES - 1
    monkeypatch.setattr(spread, "Flows", partial(flow.Flows, max_bytes=0))
    spread_labels(data_set(tmp_path / "forgotten", pictures, labels))
    assert len(searched) > 2 * (FRAMES - 1)
    assert saved(tmp_path / "kept") == saved(tmp_path / "forgotten")


def test_a_mask_ends_where_its_object_is_hidden(tmp_path: Path, rendered: Any) -> None:
    rgb, mask = rendered[0]
    columns = np.nonzero(mask)[1]
    board = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    pictures = []
    for k in range(FRAMES):  # a board slides over the pan from the left
        edge = int(columns.min() + (columns.max() + 1 - columns.min()) * max(0, k - 1) / 4)
        picture = rgb.copy()
        if k > 1:
            picture[:, :edge] = np.roll(board, edge, 1)[:, :edge]
        pictures.append(picture)
    folder = data_set(tmp_path, pictures, [person(0, mask)])
    spread_labels(folder)
    reached = {each["image_id"] for each in saved(folder)}
    assert {0, 1} <= reached and not reached & {4, 5, 6, 7}


def spread_with_depth(
    folder: Path, frames: list[Frame], poses: list[np.ndarray]
) -> tuple[list[float], float]:
    """IoU of masks of the pan that are carried from the first frame, and least agreement of true masks of the mug.

    The first frames get the poses; depth is not measured at the left.
    """
    labels = [person(0, frames[0].masks["pan", ""])]
    labels += [teacher(k, f.masks["mug", ""], category_id=2) for k, f in enumerate(frames)]
    data_set(folder, [frame.rgb for frame in frames], labels)
    coco = json.loads((folder / "annotations.json").read_text())
    for image in coco["images"]:
        frame = frames[image["id"]]
        if image["id"] < len(poses):
            lens = CameraIntrinsics.from_matrix(frame.intrinsics, WIDTH, HEIGHT)
            image["camera"] = PosedCamera(lens, poses[image["id"]]).entry()
        image["depth_file"] = f"depth/{image['id']}.png"
        depth = np.rint(frame.depth * 1000).astype(np.uint16)
        depth[:, : WIDTH // 8] = 0
        save_image(folder / image["depth_file"], depth)
    write_json(folder / "annotations.json", coco)
    spread_labels(folder)
    after = saved(folder)
    ious = [
        mask_iou(mask_of(each), frames[each["image_id"]].masks["pan", ""])
        for each in after
        if each["origin"] == "propagated"
    ]
    return ious, min(each["agreement"] for each in after if "agreement" in each)


def test_depth_carries_masks_where_flow_fails(tmp_path: Path) -> None:
    frames = circling(3, 2.0)  # 36 degrees apart
    poses = [frame.camera_pose for frame in frames]
    by_depth, agreement = spread_with_depth(tmp_path / "poses", frames, poses)
    assert len(by_depth) == 2 and min(by_depth) >= 0.8
    by_flow, less = spread_with_depth(tmp_path / "no poses", frames, [])
    assert not by_flow and less + 0.1 < agreement
    assert len(spread_with_depth(tmp_path / "two poses", frames, poses[:2])[0]) == 1


def test_flow_carries_masks_of_objects_that_move(tmp_path: Path) -> None:
    frames = circling(3, 0.3)
    still = [frames[0].camera_pose] * 3  # for such poses all objects turn
    carried, agreement = spread_with_depth(tmp_path, frames, still)
    assert len(carried) == 2 and min(carried) >= 0.8 and agreement >= 0.8


def test_pseudo_labels_say_how_far_they_agree_with_the_next_frames(
    tmp_path: Path, rendered: Any
) -> None:
    pictures, truth = [rgb for rgb, _ in rendered], [mask for _, mask in rendered]
    model = [teacher(k, truth[k]) for k in range(FRAMES)]
    model[4] = teacher(4, truth[4][::-1])
    folder = data_set(tmp_path, pictures, model)
    counts = spread_labels(folder, SpreadOptions(min_agreement=0.4))
    assert counts["pseudo-labels that agree too little"] == 1
    agreement = {each["image_id"]: each["agreement"] for each in saved(folder)}
    assert agreement[4] < 0.4 < 0.8 < min(agreement[k] for k in (0, 1, 2, 6, 7))
    assert agreement[3] < 0.8, "one neighbour of two"
    reader = CocoFolder(folder, pseudo_labels=True)
    assert reader.pseudo_labels == 7 and reader.crowds == 1
    (image,) = (image for image in reader.images if image.name == "frames/4.png")
    assert not reader.exhaustive(image) and "pan" not in {c.object for c in reader.scored(image)}
    spread_labels(folder)
    assert CocoFolder(folder, pseudo_labels=True).pseudo_labels == 8, "nothing is lost"
    keys = {"object": "pan", "part": ""}
    found = {"file_name": "frames/4.png", "annotations": [{**model[4], **keys}]}
    for key in ("id", "image_id", "category_id"):
        del found["annotations"][0][key]
    write_data_set(folder, [{"images": [found]}])
    assert saved(folder)[0]["id"] == model[4]["id"], "another run of the model keeps the id"


def test_a_carried_mask_that_a_person_accepts_is_theirs(tmp_path: Path, rendered: Any) -> None:
    pictures, truth = [rgb for rgb, _ in rendered[:3]], [mask for _, mask in rendered[:3]]
    folder = data_set(tmp_path, pictures, [person(0, truth[0])])
    spread_labels(folder)
    (suggested,) = (each for each in saved(folder) if each["image_id"] == 1)
    accepted = Region(region_key(suggested["id"]), "pan", mask_of(suggested))
    coco = json.loads((folder / "annotations.json").read_text())
    merged, counts = merge(coco, [Submission(1, "ada", "10:00", (accepted,))])
    assert counts == {"propagated": 1, "pictures": 1}
    write_json(folder / "annotations.json", merged)
    spread_labels(folder)
    after = {each["image_id"]: each for each in saved(folder)}
    assert after[1]["annotator"] == "ada" and "pseudo_label" not in after[1]
    assert after[2]["source_image_id"] == 1, "now the nearest"


def test_pictures_without_an_order_are_refused(tmp_path: Path, rendered: Any) -> None:
    folder = data_set(tmp_path, [rendered[0][0]], [person(0, rendered[0][1])])
    coco = json.loads((folder / "annotations.json").read_text())
    del coco["images"][0]["stamp_ns"]
    write_json(folder / "annotations.json", coco)
    with pytest.raises(DatasetError, match="the order of the pictures is unknown"):
        spread_labels(folder)


def test_annotations_without_an_id_get_unused_numbers(tmp_path: Path, rendered: Any) -> None:
    pictures, truth = [rgb for rgb, _ in rendered], [mask for _, mask in rendered]
    without = [person(0, truth[0]), teacher(2, truth[2])]
    del without[0]["id"]
    without[1]["id"] = None
    elsewhere = np.zeros((HEIGHT, WIDTH), bool)
    elsewhere[:8, :8] = True
    folder = data_set(tmp_path, pictures, [*without, teacher(3, elsewhere, id=7, category_id=2)])
    assert main(["label", "spread", str(folder)]) == 0
    drawn, kept, *carried = saved(folder)
    assert (drawn["id"], kept["id"]) == (8, 7)
    assert {each["source_id"] for each in carried} == {8}
    numbers = [each["id"] for each in saved(folder)]
    assert len(numbers) == len(set(numbers)) and None not in numbers
