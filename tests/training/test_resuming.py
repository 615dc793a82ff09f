"""A run is resumed only with what it was started with, and nothing is overwritten before that is sure."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers.mug_pictures import recipe_file
from helpers.toy_models import toy

from ovps_core.checkpoints import CheckpointInfo, save_model
from ovps_core.checkpoints.file import full_state
from ovps_core.errors import CheckpointError, DatasetError, UsageError
from ovps_core.models.compact.config import PartFPNConfig
from training.data import open_data
from training.families import load_recipe
from training.last_checkpoint import LastCheckpoint
from training.recipe import DataRecipe
from training.report import set_aside_curves
from training.run import DataSources
from training.run_record import RunRecord, check_checkpoint
from training.shards import pack
from training.train import main


@pytest.fixture
def trained(mugs: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A finished run of three steps, and the arguments that made it."""
    torch.set_num_threads(1)
    recipe = recipe_file(tmp_path, optim={"steps": 3, "warmup": 1, "ema_decay": 0.5})
    words = ["--data", str(mugs), "--output", str(tmp_path / "runs")]
    assert main(["--config", str(recipe), *words]) == 0
    return tmp_path / "runs" / "mugs", [str(recipe), *words]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_a_finished_run_resumes_to_nothing_and_one_without_scores_to_them(trained, capsys) -> None:
    run, arguments = trained
    before = contents(run)
    assert main([*arguments, "--resume"]) == 0
    assert "is finished: nothing is left to train" in capsys.readouterr().out
    assert contents(run) == before
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 3
    assert not list(run.glob("*.part"))

    # killed after its last step, before its scores
    card = run / "MODEL_CARD.md"
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "finished": False}))
    for lost in (card, run / "model.safetensors"):
        lost.unlink()
    assert main([*arguments, "--resume"]) == 0
    assert "score/part_miou" in card.read_text()
    for file in (card, run / "model.safetensors", run / "run.json"):
        assert file.read_bytes() == before[str(file)]


def test_only_the_first_process_sets_the_curves_aside(
    mugs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trainer:
        def __init__(self, rank: int) -> None:
            self.is_global_zero = rank == 0

        def fit(self, *_: object, **__: object) -> None:
            raise UsageError("that is all")

    metrics = tmp_path / "runs" / "mugs" / "csv" / "metrics.csv"
    metrics.parent.mkdir(parents=True)
    metrics.write_text("step\n0\n")
    torch.save({"state_dict": {}, "global_step": 1}, metrics.parents[1] / "last.ckpt")
    words = [str(recipe_file(tmp_path)), "--data", str(mugs), "--out", str(tmp_path / "runs")]
    for rank, stays in ((1, True), (0, False)):
        monkeypatch.setattr("training.train_model.make_trainer", lambda *_, r=rank: Trainer(r))
        assert main([*words, "--resume"]) == 1
        assert metrics.is_file() == stays


@pytest.mark.slow
def test_a_run_is_not_overwritten_by_another_one(trained, capsys) -> None:
    run, arguments = trained
    for lost, advice in ((), "continue it with --resume"), (("last.ckpt",), "another folder"):
        for name in lost:
            (run / name).unlink()
        before = contents(run)
        assert main([*arguments, "--set", "optim.steps=2"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert str(run) in line and advice in line and "--out" in line
        assert contents(run) == before
    (run / "model.safetensors").unlink()  # what was killed before its first checkpoint starts anew
    assert main([*arguments, "--set", "optim.steps=2"]) == 0


@pytest.mark.slow
def test_other_data_categories_or_numbers_are_refused_before_anything_is_written(
    trained, mugs: Path, capsys
) -> None:  # fmt: skip
    run, arguments = trained
    before = contents(run)
    assert main([*arguments, "--resume", "--set", "optim.lr=0.1", "optim.steps=9"]) == 1
    assert "optim.lr was 0.002 and is 0.1" in capsys.readouterr().err

    content = json.loads(mugs.read_text())
    content["categories"][1]["name"] = "belly"
    mugs.write_text(json.dumps(content))
    assert main([*arguments, "--resume", "--set", "optim.steps=9"]) == 1
    message = capsys.readouterr().err
    assert "the data were" in message and "the categories that it knows differ" in message
    assert len(message.splitlines()) == 1
    assert contents(run) == before


@pytest.mark.slow
def test_a_cut_checkpoint_is_one_line(trained, capsys) -> None:
    run, arguments = trained
    last = run / "last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    assert main([*arguments, "--resume"]) == 1
    message = capsys.readouterr().err
    assert "is cut or damaged" in message and len(message.splitlines()) == 1


def record_of(*paths: Path, data_format: str = "coco-folder") -> RunRecord:
    recipe = load_recipe("photographs", [f"data.format={data_format}"])
    info = CheckpointInfo("mugs", "compact", PartFPNConfig((), (), ()))
    return RunRecord.of(recipe, DataSources(paths), info)


def is_refused(later: RunRecord, earlier: RunRecord) -> bool:
    try:
        later.check_resumes(earlier, Path("run"))
    except UsageError as error:
        assert "the data were" in str(error)
        return True
    return False


def test_other_packed_data_are_noticed(mugs: Path, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    data = open_data(DataRecipe(object="mug"), mugs)
    for name, reads in (("all", data.train), ("few", data.train[:2])):
        pack(reads, data.vocabulary, tmp_path / name / "shards")
    packed, few = (
        record_of(tmp_path / name / "shards", data_format="shards") for name in ("all", "few")
    )
    assert not is_refused(packed, packed)
    assert is_refused(few, packed)


def test_another_benchmark_folder_is_noticed(tmp_path: Path) -> None:
    for name in ("a", "b", "empty"):
        folder = tmp_path / name / "PascalPart116" / "annotations_detectron2_part"
        folder.mkdir(parents=True)
        if name != "empty":
            (folder / "val_obj_label_count.json").write_text(json.dumps({name: [1]}))
    first, second, empty = (
        record_of(tmp_path / name, data_format="pascal-part-116") for name in ("a", "b", "empty")
    )
    assert len(first.data) == 1
    assert is_refused(second, first) and is_refused(empty, first) and is_refused(first, empty)
    assert not is_refused(empty, empty)


def test_other_pictures_to_score_on_are_noticed(mugs: Path) -> None:
    alone = record_of(mugs)
    mugs.with_name("val.json").write_text("{}")
    beside = record_of(mugs)
    mugs.with_name("val.json").write_text("{} ")
    assert is_refused(beside, alone) and is_refused(record_of(mugs), beside)


@pytest.mark.parametrize(
    "cut", ["0,0.8", "0,0.85,0.1,2", "0,0.8\n", "0,0.8,0.1,\n", "\0\0\0\n", "\xff"]
)
def test_a_cut_row_of_the_log_is_left_out(tmp_path: Path, cut: str) -> None:
    metrics = tmp_path / "metrics.csv"
    rows = "epoch,loss/total,lr,step\r\n0,1.0,0.1,0\r\n0,,0.1,10\r\n0,0.9,,10\r\n"
    metrics.write_bytes((rows + cut).encode("latin-1"))
    for _ in range(2):  # each further resume reads what was set aside
        curves = set_aside_curves(metrics)
        assert [each.tolist() for each in curves["loss/total"]] == [[0, 10], [1.0, 0.9]]
        assert [each.tolist() for each in curves["lr"]] == [[0, 10], [0.1, 0.1]]


def test_another_teacher_or_other_pictures_without_labels_are_noticed(
    mugs: Path, tmp_path: Path
) -> None:
    model, query_encoder, info = toy("compact")
    start, pictures = tmp_path / "start.safetensors", tmp_path / "pictures"
    pictures.mkdir()
    changes = [f"model.start={start}", f"data.unlabelled=[{pictures}]"]

    def record(shift: float, colour: int, *more: str) -> RunRecord:
        state = full_state(model, query_encoder)
        name = next(name for name, tensor in state.items() if tensor.is_floating_point())
        save_model(start, {**state, name: state[name] + shift}, info)
        cv2.imwrite(str(pictures / "one.png"), np.full((8, 8, 3), colour, np.uint8))
        recipe = load_recipe("objects", [*changes, *more])
        return RunRecord.of(recipe, DataSources((mugs,)), info)

    first = record(0, 90)
    record(0, 90).check_resumes(first, tmp_path)
    with pytest.raises(
        UsageError, match=r"the content of model\.start, '.*start\.safetensors', differs"
    ):
        record(1, 90).check_resumes(first, tmp_path)
    with pytest.raises(UsageError, match=r"the content of data\.unlabelled, .*pictures.*, differs"):
        record(0, 91).check_resumes(first, tmp_path)
    record(1, 91).check_resumes(replace(first, contents={}), tmp_path)  # of an earlier version

    # The checkpoint replaces the start if it is neither learned from nor mixed into the result.
    only_a_start = ("losses.retain=0", "model.share=1", "data.unlabelled=[]")
    record(1, 90, *only_a_start).check_resumes(record(0, 90, *only_a_start), tmp_path)


def test_a_run_without_a_record_is_compared_by_its_recipe(mugs: Path, tmp_path: Path) -> None:
    later = record_of(mugs)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(dict(later.recipe)))
    earlier = RunRecord.read(tmp_path)
    assert earlier is not None and not is_refused(later, earlier)
    with pytest.raises(UsageError, match=r"data\.format was 'coco-folder'"):
        record_of(mugs, data_format="rendered").check_resumes(earlier, tmp_path)


def test_a_record_of_another_version_is_read(mugs: Path, tmp_path: Path) -> None:
    later = record_of(mugs)
    later.write(tmp_path)
    written = json.loads((tmp_path / "run.json").read_text())
    (key, _) = written["model"].popitem()  # a switch that is newer than the run
    (tmp_path / "run.json").write_text(json.dumps(written | {"an_older_key": True}))
    earlier = RunRecord.read(tmp_path)
    assert earlier is not None and key not in earlier.model
    later.check_resumes(earlier, tmp_path)


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\3\4" + bytes(50)])
def test_other_files_are_no_checkpoints(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is cut or damaged"):
        check_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="is no checkpoint of a training run"):
        check_checkpoint(path)


def test_the_first_checkpoint_comes_after_a_minute(tmp_path: Path, monkeypatch) -> None:
    now, written = [0.0], []
    monkeypatch.setattr("training.last_checkpoint.time.monotonic", lambda: now[0])

    class Strategy:
        broadcast = staticmethod(bool)

    class Trainer:
        should_stop, max_steps, global_step, is_global_zero = False, 1000, 0, True
        strategy = Strategy()
        accumulate_grad_batches = 1

        def save_checkpoint(self, path: Path) -> None:
            path.write_bytes(b"")
            written.append(now[0])

    checkpoint, trainer = LastCheckpoint(tmp_path / "last.ckpt", timedelta(minutes=5)), Trainer()
    checkpoint.on_train_start(trainer, None)
    for second in range(0, 700, 10):
        now[0] = float(second)
        checkpoint.on_train_batch_end(trainer, None, None, None, 0)
    assert written == [60, 360, 660]
    trainer.global_step = 1000
    checkpoint.on_train_batch_end(trainer, None, None, None, 0)
    assert len(written) == 4 and [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_broken_labels_are_left_out_of_training_only_if_asked(mugs: Path, capsys) -> None:
    content = json.loads(mugs.read_text())
    content["annotations"][0]["segmentation"] = [[3, 3, 9, 9]]
    mugs.write_text(json.dumps(content))
    photo = mugs.parent / "train" / "mug3.png"
    photo.write_bytes(photo.read_bytes()[:-400])
    with pytest.raises(DatasetError, match=r"(?s)annotation 0 of mug0\.png.*skip_broken: true"):
        open_data(DataRecipe(object="mug"), mugs)
    data = open_data(DataRecipe(object="mug", skip_broken=True), mugs)
    assert len(data.train) == 2
    message = capsys.readouterr().err
    assert "2 problems, 2 images left" in message and "mug3.png" in message
