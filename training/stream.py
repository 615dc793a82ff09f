"""Endless stream of training samples that depends on the run's seed and the step alone.

Which picture comes at which position, and how it is augmented, is a function of (seed, position). So a run that
is resumed after a kill sees the pictures that it would have seen. N processes with batches of B see in a step what
one process with a batch of N * B sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, Dataset, Sampler

T_co = TypeVar("T_co", covariant=True)

SeededIndex = tuple[int, int]
"""Index of a sample, and the seed of its augmentation."""


@dataclass(frozen=True)
class StreamPosition:
    """Where a process stands in the stream.

    Attributes:
        seed: of the run.
        step: batches that each process has taken so far.
        rank, world: number of this process, and of all.
    """

    seed: int = 0
    step: int = 0
    rank: int = 0
    world: int = 1

    @classmethod
    def of(cls, trainer: L.Trainer | None, seed: int) -> StreamPosition:
        """The position of a trainer, which knows the step of the checkpoint that it resumes."""
        if trainer is None:
            return cls(seed)
        step = trainer.global_step * trainer.accumulate_grad_batches
        return cls(seed, step, trainer.global_rank, trainer.world_size)


class SampleStream(Sampler[SeededIndex]):
    """Indices without end, each with a seed of its own.

    Args:
        length: number of samples. Each is drawn once before one is drawn again.
        batch: samples of a batch.
        start: where to start.
        weights: with them, samples are drawn with replacement, in these proportions.
    """

    def __init__(
        self, length: int, batch: int, start: StreamPosition, weights: Sequence[float] | None = None
    ) -> None:
        self.length, self.batch, self.start = length, batch, start
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)

    def __iter__(self) -> Iterator[SeededIndex]:
        """Indices of one batch of this process after the other."""
        start, block, order = self.start, -1, torch.zeros(0, dtype=torch.int64)
        step = start.step
        while True:
            first = (step * start.world + start.rank) * self.batch
            for position in range(first, first + self.batch):
                if position // self.length != block:
                    block = position // self.length
                    order = self._order(block)
                yield int(order[position % self.length]), seed_of(start.seed, position)
            step += 1

    def _order(self, block: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed_of(self.start.seed, block, 1))
        if self.weights is None:
            return torch.randperm(self.length, generator=generator)
        return torch.multinomial(self.weights, self.length, replacement=True, generator=generator)


class SeededSamples(Dataset[T_co]):
    """A data set whose random augmentation is decided by a seed.

    Args:
        samples: draws from PyTorch's generator.
    """

    def __init__(self, samples: Dataset[T_co]) -> None:
        self.samples = samples

    def __getitem__(self, index: SeededIndex) -> T_co:
        """The sample, drawn with its seed; the generator of this process is left as it was."""
        which, seed = index
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.samples[which]


def stream_loader(
    samples: Dataset[T_co],
    batch: int,
    start: StreamPosition,
    *,
    weights: Sequence[float] | None = None,
    **options: Any,
) -> DataLoader[T_co]:
    """Endless loader of a data set.

    Args:
        samples: has a length.
        batch: samples of a batch.
        start: where to start.
        weights: see :class:`SampleStream`.
        options: of the loader.
    """
    stream = SampleStream(len(samples), batch, start, weights)  # type: ignore[arg-type]
    return DataLoader(SeededSamples(samples), batch, sampler=stream, **options)


class StepSeeds(Callback):
    """Seed PyTorch's generators before each batch, so that random layers do not depend on what came before.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed for this step and process."""
        torch.manual_seed(seed_of(self._seed, trainer.global_step, batch_idx, trainer.global_rank))


def seed_of(*numbers: int) -> int:
    """A seed of 32 bits for a few numbers, unrelated for neighbouring ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
