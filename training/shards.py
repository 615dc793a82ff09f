"""Corpora that do not fit on a disk or in memory: tar shards, written once and streamed by WebDataset.

WebDataset rather than litdata: a shard is a plain tar file that any tool opens. It streams from a disk, a pipe or
a web server alike. It needs little more than NumPy and PyYAML. Its handlers are where a damaged sample is counted.

::

    DIR/index.json                vocabulary and number of pictures
    DIR/shard-000000.tar, ...     KEY.jpg, KEY.parts.png and KEY.objects.png: 16 bits, 0 is unlabelled and
                                  65535 unknown

Shards of objects (``training/openseed/shards.py``) hold a KEY.json in place of the label maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from ovps_core.datasets.benchmark_reader import LabelledImage
from ovps_core.datasets.label_files import read_json
from ovps_core.errors import DatasetError, ImageError
from ovps_core.language.vocabulary import UNKNOWN, Vocabulary
from ovps_core.structures.image_files import encode_image, load_image
from ovps_core.structures.requirements import require_packages
from ovps_core.structures.whole_files import unfinished_folder, write_json
from training.left_out import LeftOut
from training.stream import StreamPosition, seed_of

INDEX = "index.json"
_PATTERN = "shard-%06d.tar"
_BUFFER = 1000  # samples that are shuffled with each other
_UNKNOWN = 2**16 - 1


S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class PackedData(ABC, Generic[S]):
    """A folder of shards.

    Attributes:
        folder: of the shards.
        count: number of pictures.
    """

    folder: Path
    count: int

    @property
    def files(self) -> list[str]:
        """All shards, sorted."""
        return sorted(str(path) for path in self.folder.glob("shard-*.tar"))

    @abstractmethod
    def unpack(self, packed: Mapping[str, bytes]) -> S:
        """Read a picture and its labels.

        Raises:
            KeyError: a file of it is missing.
            ImageError, DatasetError: one is damaged.
        """


@dataclass(frozen=True)
class Shards(PackedData[LabelledImage]):
    """Packed pictures with label maps.

    Attributes:
        vocabulary: label maps hold positions in it.
    """

    vocabulary: Vocabulary

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """Read the index.

        Raises:
            DatasetError: there is none, or it is damaged.
            MissingDependencyError: WebDataset is not installed.
        """

        def from_index(content: Mapping[str, Any]) -> Shards:
            vocabulary = Vocabulary(
                content["name"],
                tuple(content["objects"]),
                tuple((name, part) for name, part in content["object_parts"]),
            )
            return cls(folder, int(content["count"]), vocabulary)

        return read_index(folder, from_index)

    def unpack(self, packed: Mapping[str, bytes]) -> LabelledImage:
        """See :meth:`PackedData.unpack`."""
        image, vocabulary = load_image(packed["jpg"]), self.vocabulary
        size = image.shape[:2]
        objects = _decode_labels(packed["objects.png"], size, len(vocabulary.objects))
        parts = _decode_labels(packed["parts.png"], size, len(vocabulary.object_parts))
        return LabelledImage(image, objects, parts)


def read_index(folder: Path, from_index: Callable[[Mapping[str, Any]], T]) -> T:
    """Read the index of packed data.

    Args:
        folder: of the shards.
        from_index: makes the packed data from the content of the index.

    Raises:
        DatasetError: there is no index, or it is damaged or of another kind of packed data.
        MissingDependencyError: WebDataset is not installed.
    """
    require_packages("webdataset", extra="train")
    content = read_json(folder / INDEX)
    try:
        return from_index(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{folder / INDEX} is not the index of packed data of this type of recipe ({error}); make it with "
            "`ovps data pack`"
        ) from error


def pack(
    reads: Iterable[Callable[[], LabelledImage]],
    vocabulary: Vocabulary,
    out: Path,
    *,
    shard_megabytes: float = 256.0,
) -> Counter[str]:
    """Write pictures and label maps into shards.

    Args:
        reads: one reader per picture.
        vocabulary: of the label maps.
        out: see :func:`write_shards`, also for errors.
        shard_megabytes: size at which a new shard begins.
    """

    def encode(sample: LabelledImage) -> dict[str, bytes]:
        return {
            "jpg": encode_image(sample.image, ".jpg"),
            "parts.png": _encode_labels(sample.parts),
            "objects.png": _encode_labels(sample.objects),
        }

    index = {
        "name": vocabulary.name,
        "objects": list(vocabulary.objects),
        "object_parts": [list(pair) for pair in vocabulary.object_parts],
    }
    return write_shards(reads, encode, index, out, shard_megabytes=shard_megabytes)


def write_shards(
    reads: Iterable[Callable[[], S]],
    encode: Callable[[S], Mapping[str, bytes]],
    index: Mapping[str, Any],
    out: Path,
    *,
    shard_megabytes: float,
) -> Counter[str]:
    """Write samples into shards, all or nothing. Damaged pictures are left out and counted.

    Args:
        reads: one reader per picture.
        encode: content of each file of a sample, by suffix.
        index: what the index says beside the number of pictures.
        out: the folder to make.
        shard_megabytes: size at which a new shard begins.

    Raises:
        DatasetError: the folder exists, or not a single picture can be read.
        OutputError: the disk is full.
        MissingDependencyError: WebDataset is not installed.
    """
    require_packages("webdataset", extra="train")
    from webdataset import ShardWriter

    if out.exists():
        raise DatasetError(f"{out} exists already; give another name, or remove it")
    counts: Counter[str] = Counter()
    with unfinished_folder(out) as folder:
        folder.mkdir()
        size = int(shard_megabytes * 1e6)
        with ShardWriter(str(folder / _PATTERN), maxsize=size, maxcount=10**9, verbose=0) as writer:
            for read in tqdm(reads, "pack", unit="picture", disable=None):
                try:
                    sample = read()
                except ImageError as error:
                    counts[f"unreadable: {error}"] += 1
                    continue
                writer.write({"__key__": f"{counts['pictures']:09d}", **encode(sample)})
                counts["pictures"] += 1
        if not counts["pictures"]:
            raise DatasetError(f"not one picture can be packed: {dict(counts)}")
        write_json(folder / INDEX, {**index, "count": counts["pictures"]})
        counts["shards"] = len(list(folder.glob("shard-*.tar")))
    return counts


class ShardStream(IterableDataset[Any]):
    """Endless stream of samples from shards; a damaged sample or shard is skipped, counted and named once.

    Memory does not grow with the corpus: a worker holds a buffer of pictures. A resumed run continues with another
    order of the shards than the one that it would have had. Processes and their workers share the shards; if there
    are more of them than shards, they share the samples.

    Args:
        shards: the data.
        convert: makes a training sample of a picture.
        start: seed and step of the run, and this process among all.
        left_out: counts what is damaged.
        is_usable: tells whether there is something to learn from in a picture; others are skipped.
    """

    def __init__(
        self,
        shards: PackedData[S],
        convert: Callable[[S], Any],
        start: StreamPosition,
        left_out: LeftOut | None = None,
        *,
        is_usable: Callable[[S], bool] = lambda _: True,
    ) -> None:
        self.shards, self.convert, self.start = shards, convert, start
        self.left_out = left_out or LeftOut()
        self.is_usable = is_usable

    def __iter__(self) -> Iterator[Any]:
        """Samples of all shards, again and again, in an order of their own each time."""
        round_number, everything = 0, False
        while True:
            seed = seed_of(self.start.seed, self.start.step, round_number)
            found = False
            for sample in self._pass(seed, everything=everything):
                found = True
                yield sample
            if not found and everything:
                raise DatasetError(
                    f"no sample of {self.shards.folder} can be read, or none has something to learn from"
                )
            everything = everything or not found  # this share is damaged, others may not be
            round_number += 1

    def _pass(self, seed: int, *, everything: bool) -> Iterator[Any]:
        import webdataset as wds

        worker = get_worker_info()
        workers = worker.num_workers if worker else 1
        number = (worker.id if worker else 0) * self.start.world + self.start.rank
        streams = self.start.world * workers
        by_shard = len(self.shards.files) >= streams
        if not by_shard:  # with fewer samples than streams, some streams share one
            streams = max(1, min(streams, self.shards.count))

        def share(items: Iterator[Any]) -> Iterator[Any]:
            return items if everything else islice(items, number % streams, None, streams)

        pipeline = wds.DataPipeline(
            wds.SimpleShardList(self.shards.files, seed=seed),
            *([share] if by_shard else []),
            wds.tarfile_to_samples(handler=self._skip),
            *([] if by_shard else [share]),
            wds.shuffle(min(_BUFFER, self.shards.count), seed=seed),
        )
        for position, packed in enumerate(pipeline):
            try:
                sample = self.shards.unpack(packed)
            except (KeyError, ImageError, DatasetError) as error:
                self.left_out.add(f"{packed.get('__url__')}, {packed.get('__key__')}", error)
                continue
            if not self.is_usable(sample):
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(seed, position, number))
                yield self.convert(sample)

    def _skip(self, error: Exception) -> bool:
        """Count a damaged shard under its name, which WebDataset adds to the error, and go on."""
        text = str(error)
        shard = next((file for file in self.shards.files if file in text), text)
        self.left_out.add(shard, error.args[0] if error.args else "")
        return True

    def loader(self, batch: int, **options: Any) -> DataLoader[Any]:
        """Loader of batches."""
        return DataLoader(self, batch, **options)


def _encode_labels(labels: NDArray[np.int32]) -> bytes:
    return encode_image(np.where(labels == UNKNOWN, _UNKNOWN, labels + 1).astype(np.uint16), ".png")


def _decode_labels(data: bytes, size: tuple[int, ...], classes: int) -> NDArray[np.int32]:
    """Label map of a picture of ``size`` (height, width): values below ``classes``, or IGNORE or UNKNOWN."""
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint16:
        raise ImageError("a label map of a shard cannot be read; expected a grey PNG of 16 bits")
    unknown = raw == _UNKNOWN
    labels = np.where(unknown, UNKNOWN, raw.astype(np.int32) - 1)
    if raw.shape != size or labels.max() >= classes:
        raise ImageError(
            f"a label map of a shard has the size {raw.shape} and values up to {labels.max() + 1}; expected "
            f"{size} (height, width) and at most {classes}"
        )
    return np.asarray(labels, np.int32)
