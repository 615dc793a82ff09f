"""Rendered test scenes: every part asked for, absent things too, and each answer counted in its row."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import ClassVar

import numpy as np
import pytest
from helpers.toy_models import write_toy

from ovps_core.cli import main
from ovps_core.errors import BackendError, DatasetError
from ovps_core.evaluation.query_sampler import SMALL, VISIBLE, Group, QuerySampler, Synonyms
from ovps_core.evaluation.rendered import evaluate_rendered
from ovps_core.models.interface import Conditions, EncodedQueries
from ovps_core.segmenter import PartSegmenter
from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS
from ovps_core.synthetic.reader import RenderedScenes

pytest.importorskip("mujoco")
pytest.importorskip("trimesh")
COUNT = 6


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    from ovps_core.synthetic.renderer import OFFSCREEN_CONTEXTS

    try:
        OFFSCREEN_CONTEXTS.get(64, 64)
    except BackendError as error:
        pytest.skip(str(error))
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first_run(cache):
    """The answer of the command line, rendering into the cache: its text and its JSON."""
    weights = write_toy("compact", cache / "small.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVPS_CACHE", str(cache))
        arguments = ["--level", "tabletop", "--count", str(COUNT), "--model", str(weights)]
        arguments += ["--backend", "torch"]
        outputs = ["--json", str(cache / "figures.json"), "--report", str(cache / "page")]
        assert main(["evaluate", "rendered", *arguments, *outputs]) == 0
    return json.loads((cache / "figures.json").read_text())


@pytest.fixture(scope="module")
def scenes(cache, first_run):
    return RenderedScenes(cache / "rendered" / "tabletop-test-0")


class Knowing:
    """Answers from the truth itself, in known words only; ``hears`` are words it takes for a handle."""

    name = "knowing"
    finds_objects = False

    def __init__(self, scenes, hears=("handle",)):
        self.scenes, self.hears = scenes, hears

    def encode_queries(self, queries):
        nothing = np.zeros((0, 0), np.float32)
        return EncodedQueries(tuple(queries), Conditions(nothing, nothing, nothing, nothing), ())

    def query_maps(self, images, queries):
        found = [self.scenes.arrays(i) for i in range(len(self.scenes))]
        parts = next(ids for rgb, ids, _ in found if np.array_equal(rgb, images[0]))
        maps = [
            np.where(np.isin(parts, self.values(query)), 9.0, -9.0) for query in queries.queries
        ]
        return np.array([maps], dtype=np.float32)

    def values(self, query):
        part = "handle" if query.part in self.hears else query.part
        return [
            value
            for value, pair in enumerate(self.scenes.object_parts, start=1)
            if query.object in ("", pair[0]) and part in ("", pair[1])
        ]


def test_the_command_renders_unseen_scenes_and_prints_every_row(first_run, scenes, cache):
    assert scenes.settings["split"] == "test" and len(scenes) == COUNT
    assert first_run["scenes"] == COUNT and "tabletop test" in first_run["dataset"]
    certain = {group.value for group in Group if not group.name.startswith(("SMALL", "SYNONYM"))}
    assert set(first_run["groups"]) >= certain
    assert (cache / "page" / "index.html").is_file()


def test_a_model_that_knows_everything_gets_everything(scenes):
    result = evaluate_rendered(scenes, Knowing(scenes), count=COUNT)
    for group in (Group.SEEN, Group.PART, Group.OBJECT):
        assert result.groups[group].metrics().mean_iou == pytest.approx(1.0, abs=0.01)
        assert result.groups[group].recall == 1.0
    for group in (Group.ABSENT_OBJECT, Group.ABSENT_PART):
        figures = result.groups[group].metrics()
        assert figures.present == 0 and figures.absent > 0 and figures.false_alarm_rate == 0.0
    for group in (Group.OWN_OBJECT, Group.TRUE_OBJECT):
        assert 0.0 < result.groups[group].metrics().mean_iou < 0.9
    pairs = {name: seen for name, seen, _ in result.pairs()}
    assert all(
        seen == (tuple(name.rsplit(" ", 1)) not in HELD_OUT_OBJECT_PARTS)
        for name, seen in pairs.items()
    )


def test_pixels_of_unknown_content_count_neither_for_nor_against(scenes):
    class HalfUnknown(Knowing):
        """The scenes with 255 in the left half; the model answers everything there."""

        def __init__(self):
            super().__init__(scenes)
            self.object_parts, self.held_out_object_parts = scenes.object_parts, ()
            self.settings, self.folder = scenes.settings, scenes.folder

        def __len__(self):
            return len(scenes)

        def arrays(self, index):
            rgb, parts, objects = (np.array(array) for array in scenes.arrays(index))
            parts[:, : parts.shape[1] // 2] = 255
            return rgb, parts, objects

        def query_maps(self, images, queries):
            maps = super().query_maps(images, queries)
            maps[..., : maps.shape[-1] // 2] = 9.0
            return maps

    half = HalfUnknown()
    result = evaluate_rendered(half, half, count=COUNT)
    assert result.groups[Group.SEEN].metrics().mean_iou == pytest.approx(1.0, abs=0.01)
    assert result.groups[Group.ABSENT_OBJECT].metrics().false_alarm_rate == 0.0
    half.object_parts = half.object_parts[:3]
    with pytest.raises(DatasetError, match="or 255 for unknown content"):
        evaluate_rendered(half, half, count=COUNT)


def test_held_out_words_are_asked_beside_the_known_ones(scenes, tmp_path):
    (tmp_path / "words.yaml").write_text("objects: {}\nparts: {handle: [holder]}\n")
    words = Synonyms.read(tmp_path / "words.yaml")
    for hears, expected in ((("handle",), 0.0), (("handle", "holder"), 1.0)):
        result = evaluate_rendered(scenes, Knowing(scenes, hears), count=COUNT, synonyms=words)
        assert result.groups[Group.SYNONYM].metrics().mean_iou == pytest.approx(expected, abs=0.01)
        assert result.groups[Group.SYNONYM_KNOWN].metrics().mean_iou == pytest.approx(1.0, abs=0.01)


def test_a_word_the_model_refuses_counts_as_no_answer(scenes, cache, tmp_path):
    (tmp_path / "words.yaml").write_text("objects: {}\nparts: {handle: [zxqwv]}\n")
    segmenter = PartSegmenter.from_pretrained(str(cache / "small.safetensors"), backend="torch")
    words = Synonyms.read(tmp_path / "words.yaml")
    result = evaluate_rendered(scenes, segmenter, count=COUNT, synonyms=words)
    assert result.groups[Group.SYNONYM].metrics().mean_iou == 0.0
    assert Group.SYNONYM_READ not in result.groups
    assert sum(result.refused.values()) == result.groups[Group.SYNONYM].metrics().present


def test_only_what_shows_enough_is_asked_for_and_nothing_half_seen_is_called_absent():
    pairs = [("mug", "handle"), ("mug", "rim"), ("mug", "body"), ("pan", "handle"), ("jar", "lid")]
    parts = np.zeros((224, 224), np.uint8)
    for value, pixels in ((1, SMALL - 1), (2, VISIBLE - 1), (3, 5000), (4, 10)):
        parts[value * 40 : value * 40 + 30].reshape(-1)[:pixels] = value
    questions = QuerySampler(pairs, frozenset({("mug", "body")})).sample(
        parts, np.random.default_rng(0)
    )
    asked = {(q.query.object, q.query.part): q.groups for q in questions}
    assert asked["mug", "handle"] == (Group.SEEN, Group.SMALL)
    assert asked["mug", "body"] == (Group.UNSEEN,)
    assert ("mug", "rim") not in asked and ("pan", "handle") not in asked
    absent = {key for key, groups in asked.items() if groups == (Group.ABSENT_OBJECT,)}
    assert absent == {("jar", "lid"), ("jar", "")}
    assert asked["mug", "lid"] == (Group.ABSENT_PART,)


def test_scenes_of_any_kind_are_scored_whole_or_up_to_the_limit(scenes, cache, tmp_path, capsys):
    shutil.copytree(scenes.folder, tmp_path / "scans")
    header = json.loads((scenes.folder / "scenes.json").read_text())
    header["settings"].update(level="scans", split="train", scans="scans")
    (tmp_path / "scans" / "scenes.json").write_text(json.dumps(header))
    weights = ["--model", str(cache / "small.safetensors"), "--backend", "torch"]
    words = ["evaluate", "rendered", *weights, "--scenes", str(tmp_path / "scans")]
    assert main(words) == 0
    heading = capsys.readouterr().out.splitlines()[0]
    assert f"on {COUNT} scans train scenes, seed 0 (a training may have seen" in heading
    for options in (["--limit", "2"], ["--count", "2"], ["--count", "4", "--limit", "2"]):
        assert main([*words, *options]) == 0
        assert "on 2 scans" in capsys.readouterr().out


def test_a_folder_larger_than_the_default_is_scored_whole(monkeypatch):
    class Many:
        settings: ClassVar = {"level": "wild", "split": "test"}

        def __len__(self):
            return 1000

    from ovps_core.cli import evaluate_pictures

    monkeypatch.setattr(evaluate_pictures, "RenderedScenes", lambda folder: Many())
    args = argparse.Namespace(scenes="many", level=None, count=None, limit=0)
    assert evaluate_pictures._scenes(args)[1] == 1000


def test_what_cannot_be_used_is_named(scenes, cache, tmp_path, capsys):
    model = ["--model", str(cache / "small.safetensors"), "--scenes", str(scenes.folder)]
    assert main(["evaluate", "rendered", "--level", "wild", *model]) != 0
    assert "holds tabletop scenes, not wild" in capsys.readouterr().err
    (tmp_path / "words.yaml").write_text("[mug]")
    with pytest.raises(DatasetError, match=r"words\.yaml.*handle: \[lever"):
        Synonyms.read(tmp_path / "words.yaml")
