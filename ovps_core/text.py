"""Words into vectors: open_clip's text towers, and a cache of what they said."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

T = TypeVar("T")


class EmbeddingCache:
    """Text embeddings by (text, model digest), in memory and in one SQLite file.

    Bounded: the least recently used rows go first. Several processes may share the file; one that is locked,
    damaged or not writable costs a new encoding, never an error.

    Args:
        digest: of the weights that made the embeddings; other weights never see them.
        path: the file; None keeps to memory.
        limit: most rows, in memory and in the file each.
    """

    def __init__(self, digest: str, path: Path | None = None, limit: int = 10_000) -> None:
        self.digest = digest
        self.path = path
        self.limit = limit
        self._memory: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def get(self, text: str) -> NDArray[np.float32] | None:
        """The embedding float32 [D] of ``text``, or None."""
        if text in self._memory:
            self._memory.move_to_end(text)
            return self._memory[text]
        row = self._on_file(lambda file: _read(file, self._key(text)))
        if row is None:
            return None
        vector = np.frombuffer(row, dtype=np.float32)
        self._remember(text, vector)
        return vector

    def put(self, text: str, vector: NDArray[np.float32]) -> None:
        """Keep the embedding float32 [D] of ``text``."""
        vector = np.ascontiguousarray(vector, dtype=np.float32)
        self._remember(text, vector)
        self._on_file(lambda file: _write(file, self._key(text), vector.tobytes(), self.limit))

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self.digest}\0{text}".encode()).hexdigest()

    def _remember(self, text: str, vector: NDArray[np.float32]) -> None:
        self._memory[text] = vector
        if len(self._memory) > self.limit:
            self._memory.popitem(last=False)

    def _on_file(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """``work`` on the open table; None where the file fails, since a cache is only a cache."""
        if self.path is None:
            return None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=2.0)) as file, file:
                file.execute("PRAGMA synchronous = OFF")  # waiting for the disk took 50 ms a text
                file.execute(
                    "CREATE TABLE IF NOT EXISTS embeddings (key TEXT PRIMARY KEY, vector BLOB, used REAL)"
                )
                return work(file)
        except (sqlite3.Error, OSError):
            return None


def _read(file: sqlite3.Connection, key: str) -> bytes | None:
    row = file.execute("SELECT vector FROM embeddings WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    file.execute("UPDATE embeddings SET used = ? WHERE key = ?", (time.time(), key))
    return row[0]


def _write(file: sqlite3.Connection, key: str, vector: bytes, limit: int) -> None:
    file.execute("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", (key, vector, time.time()))
    file.execute(
        "DELETE FROM embeddings WHERE key IN "
        "(SELECT key FROM embeddings ORDER BY used DESC LIMIT -1 OFFSET ?)",
        (limit,),
    )


class TextTower(nn.Module):
    """A text tower with its tokeniser.

    Args:
        tower: tokens int64 [N, L] -> embeddings float [N, D].
        tokenizer: texts -> tokens int64 [N, L].

    Attributes:
        cache: where :meth:`embed` keeps what it encoded; None while the tower is being trained.
    """

    def __init__(self, tower: nn.Module, tokenizer: Callable[[list[str]], Tensor]) -> None:
        super().__init__()
        self.tower = tower
        self.tokenizer = tokenizer
        self.cache: EmbeddingCache | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, L] -> embeddings float [N, D], not normalised; gradients flow."""
        return self.tower(tokens)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float32 [N, D] on the CPU, one a text; encoded once, then taken from the cache."""
        known: dict[str, NDArray[np.float32]] = {}
        for text in dict.fromkeys(texts):
            cached = self.cache.get(text) if self.cache else None
            if cached is not None:
                known[text] = cached
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            device = next(self.tower.parameters()).device
            vectors = self.tower(self.tokenizer(missing).to(device)).float().cpu().numpy()
            for text, vector in zip(missing, vectors, strict=True):
                known[text] = vector
                if self.cache:
                    self.cache.put(text, vector)
        return torch.from_numpy(np.stack([known[text] for text in texts]))
