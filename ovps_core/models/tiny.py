"""A small network for a fixed set of words: what every pixel shows, decided once, read by any query.

PartCLIPSeg's construction (parts shared between objects, objects as context, pairs composed of both, a
background) without its text-conditioned decoder: three softmaxes per pixel, over objects, over generalised parts
and over the pairs that training saw, each with a background. A query picks rows, so the tenth query is a
multiplication. Softmaxes make absent things cheap: what is there takes the probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.errors import QueryError
from ovps_core.lexicon import lexicon
from ovps_core.models.base import (
    Conditions,
    Features,
    PartLogits,
    PartModel,
    Preprocessing,
    QueryPlan,
    Readout,
)
from ovps_core.query import PartQuery

_TINY = 1e-4  # probabilities are kept this far from 0 and 1, so that logits stay small in 16 bit


@dataclass(frozen=True)
class TinyConfig:
    """Every number of a tiny model.

    Attributes:
        objects, parts: known words, in the order of the softmaxes.
        pairs: (object, part) compositions that training saw.
        size: (height, width) that images are squashed to, pixels; multiples of 32.
        widths: channels at strides 4, 8, 16 and 32.
        depths: residual blocks at each.
        dim: channels of the merged map at stride 4.
        scale, shift: calibration of a query's logit, fitted on validation scenes: ``scale * logit + shift``.
    """

    objects: tuple[str, ...]
    parts: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    size: tuple[int, int] = (224, 288)
    widths: tuple[int, ...] = (48, 96, 192, 320)
    depths: tuple[int, ...] = (1, 2, 2, 2)
    dim: int = 64
    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TinyConfig:
        """From the header of a checkpoint, where tuples have become lists."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        pairs = tuple((name, part) for name, part in values["pairs"])
        return cls(**{**values, **lists, "pairs": pairs})


class _Residual(nn.Module):
    """Two 3x3 convolutions beside an identity, or beside a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inputs, outputs, 3, stride),
            nn.ReLU(inplace=True),
            _conv(outputs, outputs, 3),
        )
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else _conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x), inplace=True)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class TinyParts(PartModel):
    """Convolutions down to stride 32, merged back up to stride 4, and three softmaxes there."""

    has_pairs = True
    keeps_masks_in_16_bit = False

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = Preprocessing(size=config.size, mean=(0.5,) * 3, std=(0.25,) * 3)
        half = config.widths[0] // 2
        self.stem = nn.Sequential(
            _conv(3, half, 3, 2),
            nn.ReLU(inplace=True),
            _conv(half, config.widths[0], 3, 2),
            nn.ReLU(inplace=True),
        )
        stages, inputs = [], config.widths[0]
        for level, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            blocks = [
                _Residual(inputs if i == 0 else width, width, 2 if level and i == 0 else 1)
                for i in range(depth)
            ]
            stages.append(nn.Sequential(*blocks))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.global_context = nn.Conv2d(inputs, inputs, 1)
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.dim, 1) for width in config.widths)
        self.merges = nn.ModuleList(
            nn.Sequential(_conv(config.dim, config.dim, 3), nn.ReLU(inplace=True))
            for _ in config.widths[1:]
        )
        self.refine = nn.Sequential(_conv(config.dim, 2 * config.dim, 3), nn.ReLU(inplace=True))
        counts = len(config.objects) + 1, len(config.parts) + 1, len(config.pairs) + 1
        self.splits = counts
        self.condition_dim = sum(counts) - 3  # backgrounds are not asked for
        self.head = nn.Conv2d(2 * config.dim, sum(counts), 1)

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> scores of objects, parts and pairs, background first, at stride 4."""
        x, levels = self.stem(pixels), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        levels[-1] = x + self.global_context(x.mean(dim=(2, 3), keepdim=True))
        merged = self.laterals[-1](levels[-1])
        for i in range(len(levels) - 2, -1, -1):
            lateral = self.laterals[i](levels[i])
            merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="bilinear")
            merged = self.merges[i](merged)
        scores = self.head(self.refine(merged))
        return Features((scores,), (scores.shape[-2], scores.shape[-1]))

    def scores(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unnormalised scores float [B, 1 + n, h, w] of objects, parts and pairs, for training."""
        objects, parts, pairs = self.encode(pixels).levels[0].split(self.splits, dim=1)
        return objects, parts, pairs

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """Read conditions off the softmaxes.

        A row of conditions float [objects + parts + pairs] says which known things it means: a name spreads over
        objects and parts (one-hot for a known word), a pair over pairs. It is all zero for a composition that
        training never saw: then the product of its object's and its part's probability answers alone.
        """
        softmaxes = (
            scores.softmax(1)[:, 1:]
            for scores in features.levels[0].float().split(self.splits, dim=1)
        )
        known = torch.cat(list(softmaxes), dim=1)
        conditions = conditions.to(known.device, known.dtype)  # also where the network is in 16 bit
        names = torch.einsum("bkhw,ck->bchw", known, conditions.names)
        composed = torch.einsum("bkhw,tk->bthw", known, conditions.pairs)
        product = names[:, conditions.part_index] * names[:, conditions.object_index]
        trust = 0.5 * conditions.pairs.sum(dim=1)[:, None, None]
        return PartLogits(self._logit(names), self._logit((1 - trust) * product + 0.5 * composed))

    def _logit(self, probability: Tensor) -> Tensor:
        clamped = probability.clamp(_TINY, 1 - _TINY)
        return self.config.scale * (clamped.log() - (1 - clamped).log()) + self.config.shift

    def plan(self, queries: Sequence[PartQuery]) -> QueryPlan:
        """Each name becomes a distribution over the known words.

        Raises:
            QueryError: a word is not known; names the nearest known ones.
        """
        names: dict[tuple[str, str], int] = {}
        pairs: dict[tuple[int, int], int] = {}
        rows: list[Tensor] = []
        compositions: list[Tensor] = []
        readout: list[Readout] = []
        for query in queries:
            asked = []
            for kind, word in (("part", query.part), ("object", query.object)):
                if word and (kind, word) not in names:
                    names[kind, word] = len(rows)
                    rows.append(self._distribution(kind, word))
                if word:
                    asked.append(names[kind, word])
            if len(asked) == 2:
                if tuple(asked) not in pairs:
                    pairs[asked[0], asked[1]] = len(compositions)
                    compositions.append(self._composition(rows[asked[0]], rows[asked[1]]))
                readout.append(Readout(pairs=(pairs[asked[0], asked[1]],)))
            else:
                readout.append(Readout(names=(asked[0],)))
        indices = torch.tensor(list(pairs), dtype=torch.int64).reshape(-1, 2)
        conditions = Conditions(
            names=torch.stack(rows) if rows else torch.zeros(0, self.condition_dim),
            pairs=torch.stack(compositions) if compositions else torch.zeros(0, self.condition_dim),
            part_index=indices[:, 0],
            object_index=indices[:, 1],
        )
        return QueryPlan(tuple(queries), conditions, tuple(readout))

    def _distribution(self, kind: str, word: str) -> Tensor:
        """The known words that ``word`` means, float [objects + parts + pairs]."""
        known = self.config.objects if kind == "object" else self.config.parts
        table = lexicon().objects if kind == "object" else lexicon().parts
        name = word if word in known else table.get(word, word)
        if name not in known:
            raise QueryError(f"this model knows no {kind} {word!r}; it knows {', '.join(known)}")
        row = torch.zeros(self.condition_dim)
        row[known.index(name) + (0 if kind == "object" else len(self.config.objects))] = 1.0
        return row

    def _composition(self, part: Tensor, object: Tensor) -> Tensor:
        """The known pairs that a part and an object compose, float [objects + parts + pairs]."""
        objects, parts = self.config.objects, self.config.parts
        row = torch.zeros(self.condition_dim)
        for i, (name, kind) in enumerate(self.config.pairs, start=len(objects) + len(parts)):
            row[i] = object[objects.index(name)] * part[len(objects) + parts.index(kind)]
        return row
