"""The attention losses of PartCLIPSeg: separation (L_sep) and enhancement (L_enh).

Both look at one decoder block's self-attention A. For an object-part t, A_t is the mean of its
part's and its object's attention, S_t the attention that the part's own pixels pay to every pixel,
M_o the object.
Separation: two parts must not attend to the same pixels of the object. Enhancement: the part that
gets the least attention must get more.

Each comes twice: as released, value for value, and as the paper defines it with a useful gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.labels import ObjectPartIndex, PartTargets

SMOOTHING_SIGMA = 0.5
SOFTNESS = 0.1
"""Width of the sigmoid that stands for the released threshold, in units of the normalised maps."""


@dataclass(frozen=True)
class PartAttention:
    """Attention of the parts of one object in one image, all maps [h, w] of the attention's grid.

    Attributes:
        paid: float [K, h, w], per part the sum over its pixels of the attention they pay.
        inside: bool [K, h, w], the part's pixels; may be empty for a part thinner than the grid.
        object: bool [h, w], the object's pixels (M_o).
        of_object: bool [K], which of the K parts belong to this object.
    """

    paid: Tensor
    inside: Tensor
    object: Tensor
    of_object: Tensor


def pair_attention(attention: Tensor, index: ObjectPartIndex, pairs: Tensor) -> Tensor:
    """A_t, the mean of the part's and of the object's attention.

    Args:
        attention: float [..., C, L, L], one map a name.
        index: rows of the names.
        pairs: int64 [K], which object-parts.

    Returns:
        float [..., K, L, L].
    """
    return (attention[..., index.part[pairs], :, :] + attention[..., index.object[pairs], :, :]) / 2


def attention_of_objects(
    attention: Tensor,
    targets: PartTargets,
    index: ObjectPartIndex,
    grid: tuple[int, int],
    *,
    drop_last: bool,
) -> Iterator[PartAttention]:
    """Every object in every image that has a part in its image.

    Args:
        attention: float [B, C, L, L], mean over heads; tokens in front of the grid are
            dropped.
        targets: labels at the size of the logits.
        index: rows of the names.
        grid: (h, w) of the attention's tokens.
        drop_last: as released: the list of objects loses its largest entry, which is the ignore
            label where there is an ignored pixel, and an object where there is none.
    """
    small = targets.resized(grid)
    prefix = attention.shape[-1] - grid[0] * grid[1]
    for image in range(attention.shape[0]):
        present = _labels_in(targets.pairs[image])
        if present.numel() == 0:
            continue
        inside = small.pairs[image] == present[:, None, None]
        maps = pair_attention(attention[image], index, present)
        paid = torch.einsum(
            "kq,kqp->kp", inside.flatten(1).to(maps.dtype), maps[:, prefix:, prefix:]
        )
        objects = _labels_in(targets.objects[image])
        if drop_last and not bool((targets.objects[image] == IGNORE).any()):
            objects = objects[:-1]
        for one in objects:
            yield PartAttention(
                paid=paid.reshape(-1, *grid),
                inside=inside,
                object=small.objects[image] == one,
                of_object=index.object[present] == index.num_parts + one,
            )


def smooth(maps: Tensor) -> Tensor:
    """G: 3x3 smoothing with weights exp(-(x / 2 sigma)^2) a side, reflected at the border.

    The exponent squares the whole fraction, as released, so the true standard deviation is
    sigma * sqrt(2).

    Args:
        maps: float [K, h, w], at least 2 by 2.
    """
    steps = torch.tensor([-1.0, 0.0, 1.0], dtype=maps.dtype, device=maps.device)
    line = torch.exp(-((steps / (2 * SMOOTHING_SIGMA)) ** 2))
    kernel = torch.outer(line, line)
    kernel = kernel / kernel.sum()
    padded = functional.pad(maps[:, None], (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(padded, kernel[None, None])[:, 0]


def separation_released(of: PartAttention, threshold: float) -> Tensor:
    """L_sep as released: the share of attended pixels with two parts or more; no gradient."""
    attended = (smooth(_min_max(of.paid)) > threshold) & of.object
    count = attended.sum(dim=0)
    return (count > 1).sum() / ((count >= 1).sum() + 1e-9)


def separation(of: PartAttention, threshold: float, softness: float = SOFTNESS) -> Tensor:
    """L_sep over soft maps: d_t = sigmoid((G(minmax(S_t)) - threshold) / softness) inside M_o.

    The d_t are read as probabilities that part t attends to the pixel. The loss is the expected
    number of pixels with two or more parts over that with one or more; where the d_t are 0 or 1
    this is the released value. Only the object's own parts count.
    """
    maps = smooth(_min_max(of.paid[of.of_object]))
    soft = torch.sigmoid((maps - threshold) / softness) * of.object
    nobody = torch.ones_like(of.object, dtype=soft.dtype)
    one = torch.zeros_like(nobody)
    for chance in soft:
        one = one * (1 - chance) + nobody * chance
        nobody = nobody * (1 - chance)
    return (1 - nobody - one).sum() / ((1 - nobody).sum() + 1e-9)


def enhancement_released(of: PartAttention) -> Tensor:
    """L_enh as released: S_t divided by the whole grid's size, its maximum anywhere in it."""
    paid = smooth(of.paid / of.object.numel())
    return 1 - paid.flatten(1).amax(dim=1).amin().clamp(max=1.0)


def enhancement(of: PartAttention) -> Tensor:
    """L_enh as the paper has it: 1 - min over parts of the maximum of G(S_t) inside the part.

    S_t is the mean of A_t over the part's own pixels. Of the object's own parts those count that
    have a pixel in the grid; 0 if none has. Rows of attention sum to 1 and G keeps a third of a
    single peak, so 0.67 is the least that a part can reach.
    """
    seen = of.of_object & of.inside.flatten(1).any(dim=1)
    if not bool(seen.any()):
        return of.paid.new_zeros(())
    inside = of.inside[seen]
    mean = of.paid[seen] / inside.flatten(1).sum(dim=1)[:, None, None]
    strongest = smooth(mean).masked_fill(~inside, 0.0).flatten(1).amax(dim=1)
    return 1 - strongest.amin().clamp(max=1.0)


def _labels_in(labels: Tensor) -> Tensor:
    """Distinct labels of a map in rising order, without the ignored."""
    distinct = labels.unique()
    return distinct[distinct != IGNORE]


def _min_max(maps: Tensor) -> Tensor:
    least = maps.flatten(1).amin(dim=1)[:, None, None]
    most = maps.flatten(1).amax(dim=1)[:, None, None]
    return (maps - least) / (most - least + 1e-9)
