"""A small network for a fixed set of words: what every pixel shows, decided once, read by any query.

PartCLIPSeg's construction (parts shared between objects, objects as context, pairs composed of both, a
background) without its text-conditioned decoder: three softmaxes per pixel, over objects, over generalised parts
and over the pairs that training saw, each with a background. A query picks rows, so the tenth query is a
multiplication. Softmaxes make absent things cheap: what is there takes the probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.errors import QueryError
from ovps_core.language.resolver import Kind, Meaning, refusal, resolve, split_object_part
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    Features,
    PartLogits,
    PartModel,
    Preprocessing,
    QueryRows,
)
from ovps_core.structures.query import PartQuery

T = TypeVar("T")
Name = tuple[Kind, str]
"""A word, and whether it names an object or a part."""
_TINY = 1e-4  # probabilities are kept this far from 0 and 1, so that logits stay small in 16 bit


@dataclass(frozen=True)
class PartFPNConfig:
    """Every number of a tiny model.

    Attributes:
        objects, parts: known words, in the order of the softmaxes.
        pairs: (object, part) compositions that training saw.
        size: (height, width) that images are squashed to, pixels; multiples of 32.
        trunk: a timm network with maps at strides 4, 8, 16 and 32.
        dim: channels of the merged map at stride 4.
        mirrored: every picture is also seen in the mirror, at twice the work.
        agreement: how much a pixel's object is drawn to those of its picture and neighbourhood; 0 not at all.
        neighbourhood: radius of that neighbourhood, in cells of stride 4.
        scale, shift: calibration of a query's logit, fitted on validation scenes: ``scale * logit + shift``.
        caution: what the logit of a composition never trained loses, since most such things do not exist.
    """

    objects: tuple[str, ...]
    parts: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    size: tuple[int, int] = (256, 288)
    trunk: str = "efficientnet_lite0"
    dim: int = 64
    mirrored: bool = True
    agreement: float = 0.25
    neighbourhood: int = 6
    scale: float = 1.0
    shift: float = 0.0
    caution: float = 0.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PartFPNConfig:
        """From the header of a checkpoint, where tuples have become lists."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        pairs = tuple((name, part) for name, part in values["pairs"])
        return cls(**{**values, **lists, "pairs": pairs})


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _normalise_to(weights: Tensor, mass: Tensor | float) -> Tensor:
    """Scale ``weights`` float [B, n, ...] so that they sum to ``mass`` over n."""
    return weights * (mass / weights.sum(dim=1, keepdim=True).clamp(min=1e-12))


def _numbered(items: Iterable[T]) -> dict[T, int]:
    """The distinct items, each with its place in the order of first sight."""
    return {item: place for place, item in enumerate(dict.fromkeys(items))}


class PartFPN(PartModel):
    """A trunk's maps down to stride 32, merged back up to stride 4, and three softmaxes there."""

    answers_object_parts = True
    safe_in_half_precision = False

    def __init__(self, config: PartFPNConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = Preprocessing(size=config.size, mean=(0.5,) * 3, std=(0.5,) * 3)
        self.trunk = timm.create_model(
            config.trunk, features_only=True, out_indices=(-4, -3, -2, -1)
        )
        widths: list[int] = self.trunk.feature_info.channels()  # type: ignore[union-attr,operator]
        self.global_context = nn.Conv2d(widths[-1], widths[-1], 1)
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.dim, 1) for width in widths)
        self.merges = nn.ModuleList(_conv(config.dim, config.dim) for _ in widths[1:])
        self.refine = _conv(config.dim, 2 * config.dim)
        counts = len(config.objects) + 1, len(config.parts) + 1, len(config.pairs) + 1
        self.splits = counts
        self.condition_dim = sum(counts) - 3  # backgrounds are not asked for
        self.head = nn.Conv2d(2 * config.dim, sum(counts), 1)
        owners = torch.tensor([config.objects.index(name) for name, _ in config.pairs])
        self.pair_objects: Tensor
        self.register_buffer("pair_objects", owners.long(), persistent=False)

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> one level at stride 4: probabilities of objects, parts, pairs."""
        softmaxes = [scores.float().softmax(1) for scores in self.scores(pixels)]
        if self.config.mirrored:
            mirrored = self.scores(pixels.flip(-1))
            softmaxes = [
                (ours + theirs.float().softmax(1).flip(-1)) / 2
                for ours, theirs in zip(softmaxes, mirrored, strict=True)
            ]
        objects, parts, pairs = softmaxes
        settled = self._refine_objects(objects)
        change = (settled / objects[:, 1:].clamp(min=_TINY))[:, self.pair_objects]
        pairs = _normalise_to(pairs[:, 1:] * change, 1 - pairs[:, :1])
        height, width = pixels.shape[-2:]
        return Features((torch.cat([settled, parts[:, 1:], pairs], dim=1),), (height, width))

    def scores(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unnormalised scores float [B, 1 + n, h, w] of objects, parts and pairs, of the picture as it is."""
        levels = self.trunk(pixels)
        levels[-1] = levels[-1] + self.global_context(levels[-1].mean(dim=(2, 3), keepdim=True))
        merged = self.laterals[-1](levels[-1])
        for i in range(len(levels) - 2, -1, -1):
            lateral = self.laterals[i](levels[i])
            merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="bilinear")
            merged = self.merges[i](merged)
        objects, parts, pairs = self.head(self.refine(merged)).split(self.splits, dim=1)
        return objects, parts, pairs

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """Read conditions off the probabilities.

        A row of conditions float [objects + parts + pairs] says which known things it means: a name spreads over
        objects and parts (one-hot for a known word), a pair over pairs. It is all zero for a composition that
        training never saw: then the geometric mean of its object and its part answers alone.
        """
        known, grid = features.levels[0].flatten(2), features.levels[0].shape[-2:]
        conditions = conditions.to(known.device, known.dtype)  # also where the network is in 16 bit
        names = (conditions.names @ known).unflatten(2, grid)
        composed = (conditions.pairs @ known).unflatten(2, grid)
        product = names[:, conditions.part_index] * names[:, conditions.object_index]
        both = product.clamp(min=_TINY**2).sqrt()
        trained = conditions.pairs.sum(dim=1).clamp(max=1)[:, None, None]
        composed = self._logit((1 - 0.5 * trained) * both + 0.5 * composed)
        return PartLogits(self._logit(names), composed - (1 - trained) * self.config.caution)

    def _refine_objects(self, objects: Tensor) -> Tensor:
        """Objects float [B, 1 + n, h, w], background first -> float [B, n, h, w], what the picture agrees on.

        A picture shows few objects, and a pixel's neighbours show the same one. So each pixel's object is weighed
        by the object's share of the whole picture and of the neighbourhood, twice: expectation maximisation for
        the unknown priors of a picture (Saerens et al., Neural Computation 2002). The background keeps its share.
        """
        mass = 1 - objects[:, :1]
        objects = objects[:, 1:]
        side = 2 * self.config.neighbourhood + 1
        for _ in range(2):
            votes = objects * mass
            overall = _normalise_to(votes.mean(dim=(2, 3), keepdim=True) + _TINY**2, 1.0)
            nearby = F.avg_pool2d(votes, side, stride=1, padding=side // 2)
            nearby = _normalise_to(nearby + _TINY**2, 1.0)
            weight = (overall * nearby) ** self.config.agreement
            objects = _normalise_to(objects * weight, mass)
        return objects

    def _logit(self, probability: Tensor) -> Tensor:
        clamped = probability.clamp(_TINY, 1 - _TINY)
        return self.config.scale * (clamped.log() - (1 - clamped).log()) + self.config.shift

    def plan(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """Each name becomes a distribution over the known words.

        Raises:
            QueryError: a word is not known; names the nearest known ones.
        """
        found = [self._words(query) for query in queries]
        asked = [tuple(words) for words in found]
        meanings = {name: meant for words in found for name, meant in words.items()}
        rows = [self._distribution(kind, meant) for (kind, _), meant in meanings.items()]
        names = _numbered(meanings)
        pairs = _numbered(one for one in asked if len(one) == 2)
        indices = [[names[name] for name in pair] for pair in pairs]
        compositions = [self._composition(rows[part], rows[object]) for part, object in indices]
        part_index, object_index = torch.tensor(indices, dtype=torch.int64).reshape(-1, 2).unbind(1)
        none = torch.zeros(0, self.condition_dim)
        conditions = Conditions(
            names=torch.stack(rows) if rows else none,
            pairs=torch.stack(compositions) if compositions else none,
            part_index=part_index,
            object_index=object_index,
        )
        query_rows = (
            QueryRows(pairs=(pairs[one],)) if len(one) == 2 else QueryRows(names=(names[one[0]],))
            for one in asked
        )
        return EncodedQueries(tuple(queries), conditions, tuple(query_rows))

    def _words(self, query: PartQuery) -> dict[Name, Meaning]:
        """What ``query`` asks for, part first: each word and the known ones that it means."""
        known = self.config
        try:
            return self._meant(query.object, query.part)
        except QueryError:
            whole = "" if query.object and query.part else query.object or query.part
            apart = split_object_part(whole, known.objects, known.parts)
            if apart is None:
                reason = refusal(query, known.objects, known.parts, known.pairs)
                raise QueryError(reason) from None
            return self._meant(*apart)

    def _meant(self, object: str, part: str) -> dict[Name, Meaning]:
        names: tuple[Name, ...] = (("part", part), ("object", object))
        return {
            (kind, word): resolve(word, self._class_names(kind), kind)
            for kind, word in names
            if word
        }

    def _class_names(self, kind: Kind) -> tuple[str, ...]:
        return self.config.objects if kind == "object" else self.config.parts

    def _distribution(self, kind: Kind, meant: Meaning) -> Tensor:
        """The known words that are meant, float [objects + parts + pairs]."""
        known = self._class_names(kind)
        offset = 0 if kind == "object" else len(self.config.objects)
        row = torch.zeros(self.condition_dim)
        most = max(share for _, share in meant)
        for name, share in meant:
            # A pixel shows one known thing only, so what "cutlery" means adds up.
            row[offset + known.index(name)] = share / most
        return row

    def _composition(self, part: Tensor, object: Tensor) -> Tensor:
        """The known pairs that a part and an object compose, float [objects + parts + pairs]."""
        objects, parts = self.config.objects, self.config.parts
        row = torch.zeros(self.condition_dim)
        for i, (name, kind) in enumerate(self.config.pairs, start=len(objects) + len(parts)):
            row[i] = object[objects.index(name)] * part[len(objects) + parts.index(kind)]
        return row
