"""Refinement of class maps by attention, without parameters (ideas of HOPS, a relative of PartCATSeg).

A map over N cells is sharpened by an N x N matrix that says which cells belong together: the self-attention of an
image tower, or any other affinity. Only the equations were taken over. A^l is the attention of layer l after its
softmax, averaged over heads and without the class token; rows are queries.

For experiments: no model uses these functions by itself. docs/notebook/refinement.md has what they change.
"""

from __future__ import annotations

from torch import Tensor


def attention_votes(attention: Tensor, more_than: int) -> Tensor:
    """Pairs of cells whose attention is above average in more than ``more_than`` layers, bool [B, N, N].

    V_ij = [ #{l : A^l_ij > mean of A^l} > more_than ].

    Args:
        attention: float [B, L, N, N].
        more_than: number of layers.
    """
    above = attention > attention.mean(dim=(2, 3), keepdim=True)
    return above.sum(dim=1) > more_than


def likely_classes(probabilities: Tensor, margin: float = 0.2) -> Tensor:
    """Classes of each cell that come within ``margin`` of its best one, bool [B, N, C].

    Args:
        probabilities: float [B, N, C].
        margin: distance in probability.
    """
    return probabilities > probabilities.amax(dim=-1, keepdim=True) - margin


def filter_by_attention(scores: Tensor, attention: Tensor, more_than: int = 4) -> Tensor:
    """Attention filter (AFM): each cell becomes the sum of cells that most layers connect it to.

    S' = (V o mean_l A^l) S. The rows of the matrix do not sum to 1, so scores shrink, and a cell without votes
    becomes 0 for every class: compare the classes of one cell, never a score with a threshold.

    Args:
        scores: float [B, N, C], such as cosines of cells and class names. To leave out what a cell surely is not,
            multiply them by :func:`likely_classes` first.
        attention: float [B, L, N, N].
        more_than: see :func:`attention_votes`.

    Returns:
        float [B, N, C].
    """
    return (attention_votes(attention, more_than) * attention.mean(dim=1)) @ scores


def fuse_attention(
    attention: Tensor, other: Tensor, alpha: float, strongest: float = 0.05
) -> Tensor:
    """Attention of one image tower corrected by another's on the same cells.

    alpha A o softmax over queries of A' + (1 - alpha) A' o [A is among the strongest], for every layer.

    Args:
        attention: A float [B, L, N, N], of the tower that knows the words (CLIP).
        other: A' float [B, L, N, N], of the tower that separates things well (DINO).
        alpha: weight of the first term, 0 to 1.
        strongest: share of the pairs of a layer that the second term keeps.

    Returns:
        float [B, L, N, N].
    """
    flat = attention.flatten(2)
    lowest = flat.kthvalue(int((1 - strongest) * flat.shape[-1]), dim=-1).values[..., None, None]
    return alpha * attention * other.softmax(dim=-2) + (1 - alpha) * other * (attention >= lowest)


def doubly_normalised(affinity: Tensor, rounds: int = 5) -> Tensor:
    """Affinity float [..., N, N] whose rows and columns sum to about 1 (Sinkhorn and Knopp, 1967).

    Args:
        affinity: positive, float [..., N, N].
        rounds: how often rows, then columns, are divided by their sums.
    """
    for _ in range(rounds):
        affinity = affinity / affinity.sum(dim=-1, keepdim=True)
        affinity = affinity / affinity.sum(dim=-2, keepdim=True)
    return affinity


def spread_by_affinity(scores: Tensor, affinity: Tensor, rounds: int = 5) -> Tensor:
    """Affinity refinement (AEM): each cell becomes a mean over the cells that belong to it.

    S' = (D + D^T) / 2 S, with D the affinity after :func:`doubly_normalised`.

    Args:
        scores: float [..., N, C].
        affinity: positive, float [..., N, N], such as the mean attention of all layers.
        rounds: see :func:`doubly_normalised`.
    """
    balanced = doubly_normalised(affinity, rounds)
    return (balanced + balanced.transpose(-1, -2)) / 2 @ scores
