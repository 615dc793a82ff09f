"""Text encoder of a CLIP model, and the cache of its embeddings."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ovps_core.structures.cache_folder import cache_folder

T = TypeVar("T")
EMBEDDING_VERSION = 1
"""Part of the cache key. Raise it when a text gets another embedding, such as by other prompts."""


class EmbeddingCache:
    """Text embeddings by text, model digest and version of the code, in memory and in one SQLite file.

    The size is bounded: the least recently used rows are removed first. Several processes may share the file. If
    it is locked, damaged or not writable, texts are encoded again; that is never an error.

    Args:
        digest: digest of the weights that made the embeddings; other weights do not read them.
        path: the file; None keeps embeddings in memory only.
        limit: maximum number of embeddings, in memory and in the file each.
    """

    def __init__(self, digest: str, path: Path | None = None, limit: int = 10_000) -> None:
        self.digest = digest
        self.path = path
        self.limit = limit
        self._memory: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def get(self, texts: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Known embeddings float32 [D] of ``texts``; unknown texts are left out."""
        texts = list(texts)
        known = {text: self._memory[text] for text in texts if text in self._memory}
        missing = {self._key(text): text for text in texts if text not in known}
        rows = self._on_file(lambda file: _read(file, list(missing))) if missing else None
        for key, vector in rows or []:
            known[missing[key]] = np.frombuffer(vector, dtype=np.float32)
        self._remember(known)
        return known

    def put(self, embeddings: Mapping[str, NDArray[np.float32]]) -> None:
        """Store embeddings float32 [D] of texts."""
        vectors = {t: np.ascontiguousarray(v, dtype=np.float32) for t, v in embeddings.items()}
        self._remember(vectors)
        rows = [(self._key(text), vector.tobytes()) for text, vector in vectors.items()]
        self._on_file(lambda file: _write(file, rows, self.limit))

    def _key(self, text: str) -> str:
        made_by = f"{self.digest}\0{EMBEDDING_VERSION}\0{_open_clip_version()}"
        return hashlib.sha256(f"{made_by}\0{text}".encode()).hexdigest()

    def _remember(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        for text, vector in vectors.items():
            self._memory[text] = vector
            self._memory.move_to_end(text)
        while len(self._memory) > self.limit:
            self._memory.popitem(last=False)

    def _on_file(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Result of ``work`` on the open table; None if the file fails, since the cache is optional."""
        if self.path is None:
            return None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=2.0)) as file, file:
                file.execute("PRAGMA synchronous = OFF")  # waiting for the disk took 50 ms per text
                file.execute(
                    "CREATE TABLE IF NOT EXISTS embeddings (key TEXT PRIMARY KEY, vector BLOB, used REAL)"
                )
                return work(file)
        except (sqlite3.Error, OSError):
            return None


@functools.cache
def _open_clip_version() -> str:
    """Version of the package that has the tokenisers and towers; "" without it."""
    try:
        return metadata.version("open_clip_torch")
    except metadata.PackageNotFoundError:
        return ""


def _read(file: sqlite3.Connection, keys: Sequence[str]) -> list[tuple[str, bytes]]:
    rows = []
    for key in keys:
        row = file.execute("SELECT key, vector FROM embeddings WHERE key = ?", (key,)).fetchone()
        if row is not None:
            rows.append(row)
    used = [(time.time(), key) for key, _ in rows]
    file.executemany("UPDATE embeddings SET used = ? WHERE key = ?", used)
    return rows


def _write(file: sqlite3.Connection, rows: Sequence[tuple[str, bytes]], limit: int) -> None:
    file.executemany(
        "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)",
        [(key, vector, time.time()) for key, vector in rows],
    )
    file.execute(
        "DELETE FROM embeddings WHERE key IN "
        "(SELECT key FROM embeddings ORDER BY used DESC LIMIT -1 OFFSET ?)",
        (limit,),
    )


class Tokenizer(Protocol):
    """A tokeniser of open_clip."""

    context_length: int | None

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Texts -> tokens int64 [N, L]; what exceeds the context length L is cut off."""


class TextEncoder(nn.Module):
    """A text tower with its tokeniser.

    Args:
        tower: tokens int64 [N, L] -> embeddings float [N, D].
        tokenizer: texts -> tokens int64 [N, L].

    Attributes:
        context_length: L, the number of tokens that the tower reads, with those that mark begin and end.
        cache: cache of :meth:`embed`; None while the tower is trained.
    """

    def __init__(self, tower: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tower = tower
        self.tokenizer = tokenizer
        self.context_length = tokenizer.context_length or 77
        self.cache: EmbeddingCache | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, L] -> embeddings float [N, D], not normalised; gradients flow."""
        return self.tower(tokens)

    def keep_embeddings(self, digest: str) -> None:
        """Keep embeddings in the cache folder from now on, under the digest of the weights."""
        self.cache = EmbeddingCache(digest, cache_folder() / "text.sqlite")

    def fits(self, text: str) -> bool:
        """Return True if no token of ``text`` is cut off: with a longer context only padding is added."""
        length = self.context_length
        longer = self.tokenizer([text], context_length=length + 1)
        return torch.equal(self.tokenizer([text], context_length=length), longer[:, :length])

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float [N, D] of N texts, on the tower's device."""
        device = next(self.tower.parameters()).device
        return self(self.tokenizer(list(texts)).to(device))

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float32 [N, D] of N texts, on the CPU; each text is encoded once, then cached."""
        unique = list(dict.fromkeys(texts))
        known = self.cache.get(unique) if self.cache else {}
        missing = [text for text in unique if text not in known]
        if missing:
            vectors = self.encode(missing).float().cpu().numpy()
            new = dict(zip(missing, vectors, strict=True))
            if self.cache:
                self.cache.put(new)
            known = {**known, **new}
        return torch.from_numpy(np.stack([known[text] for text in texts]))
