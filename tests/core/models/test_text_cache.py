"""Encoded words are kept in memory and on disk, never mixed between models, and never grow without bound."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_models import toy

from ovps_core.models.text import tower
from ovps_core.models.text.tower import EmbeddingCache


def test_kept_by_text_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    EmbeddingCache("model a", path).put({"knife": np.arange(4, dtype=np.float32)})
    found = EmbeddingCache("model a", path).get(["fork", "knife"])
    assert list(found) == ["knife"]
    np.testing.assert_array_equal(found["knife"], [0, 1, 2, 3])
    assert not EmbeddingCache("model b", path).get(["knife"])


@pytest.mark.parametrize(
    ("name", "value"), [("EMBEDDING_VERSION", -1), ("_open_clip_version", lambda: "0.0")]
)
def test_embeddings_of_other_code_are_not_read(
    name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.sqlite"
    EmbeddingCache("model", path).put({"knife": np.zeros(2, np.float32)})
    monkeypatch.setattr(tower, name, value)
    assert not EmbeddingCache("model", path).get(["knife"])


def test_bounded_least_recently_used_first(tmp_path: Path) -> None:
    cache = EmbeddingCache("m", tmp_path / "text.sqlite", limit=3)
    for word in ("a", "b", "c"):
        cache.put({word: np.zeros(2, np.float32)})
    EmbeddingCache("m", cache.path, limit=3).get(["a"])
    cache.put({"d": np.zeros(2, np.float32)})
    assert list(EmbeddingCache("m", cache.path).get("abcd")) == ["a", "c", "d"]


def test_a_damaged_or_unwritable_file_only_costs_an_encoding(tmp_path: Path) -> None:
    damaged = tmp_path / "text.sqlite"
    damaged.write_bytes(b"this is no database" * 100)
    for path in (damaged, Path("/proc/nowhere/text.sqlite")):
        cache = EmbeddingCache("m", path)
        assert not cache.get(["knife"])
        cache.put({"knife": np.ones(2, np.float32)})
        np.testing.assert_array_equal(cache.get(["knife"])["knife"], [1, 1])


def _put_many(path: Path, first: int) -> None:
    cache = EmbeddingCache("m", path)
    for i in range(first, first + 50):
        cache.put({str(i): np.full(8, i, np.float32)})


def test_two_processes_share_the_file(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_put_many, args=(path, first)) for first in (0, 50)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = EmbeddingCache("m", path).get(str(i) for i in range(100))
    for i in range(100):
        np.testing.assert_array_equal(found[str(i)], np.full(8, i))


def test_the_tower_runs_once_a_word(tmp_path: Path) -> None:
    text = toy("clipseg").query_encoder.text_encoder
    assert text is not None
    text.cache = EmbeddingCache("small", tmp_path / "text.sqlite")
    encoded = []
    text.tower.register_forward_hook(lambda _, inputs, __: encoded.append(len(inputs[0])))
    first = text.embed(["knife", "mug", "knife"])
    again = text.embed(["mug", "knife", "pan"])
    assert encoded == [2, 1]
    np.testing.assert_array_equal(first[0], again[1])
