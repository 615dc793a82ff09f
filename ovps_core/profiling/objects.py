"""Measurement of models that find objects: a frame is an image and a list of names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ovps_core.checkpoints import LoadedModel
from ovps_core.engines.tensor_engine import TensorEngine
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.models.interface import CanvasSpec, Preprocessing
from ovps_core.models.layers.boxes import corners
from ovps_core.models.objects import ObjectPredictions, ObjectQueries
from ovps_core.pipeline.canvas import to_canvas
from ovps_core.pipeline.postprocess.instances import instances, keep_best
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.profiling.case import Result, Stage, TimedCase, Workload
from ovps_core.profiling.workloads import RANDOM, camera_images, queries

_MAX_OBJECTS = 100  # pairs of query and name whose masks are decoded, as by default
_BOX_PIXELS, _MASK_IOU = 1.0, 0.99  # objects agree within these


class ObjectSweep(Protocol):
    """The fields of :class:`ovps_core.profiling.measure.Sweep` that are read here."""

    @property
    def workloads(self) -> list[Workload]:
        """Numbers of names, sizes and numbers of cameras."""

    @property
    def short_side(self) -> int | None:
        """Size of the short side of images, pixels."""


@dataclass(frozen=True)
class ObjectInput:
    """Input of a frame, and the answer of PyTorch in fp32.

    Attributes:
        workload: number of names and size of the image.
        image: RGB uint8 [H, W, 3].
        names: embeddings float [K, D].
        preprocessing, canvas: conversion of the image into pixels.
        expected: the kept objects.
    """

    workload: Workload
    image: RgbImage
    names: Tensor
    preprocessing: Preprocessing
    canvas: CanvasSpec
    expected: ObjectPredictions


class ObjectCase(TimedCase[ObjectPredictions]):
    """An engine with an image and names, ready to run a frame.

    Args:
        model_name: name of the model for the table.
        engine: runs the model.
        given: input, and the answer of PyTorch in fp32.
    """

    def __init__(self, model_name: str, engine: TensorEngine, given: ObjectInput) -> None:
        super().__init__(Result(model_name, str(engine), *given.workload), engine)
        self.given = given

    def prepare(self) -> None:
        """Nothing: a frame prepares the graphs that it needs."""

    @torch.inference_mode()
    def run(self, stage: Stage) -> ObjectPredictions:
        """Run a frame; "decode" is the selection of queries, their decoder, and the masks of those kept."""
        engine, given = self.engine, self.given
        with stage("preprocess"):
            pixels, (canvas,) = to_canvas([given.image], given.preprocessing, given.canvas)
        with stage("encode"):
            features = engine.encode(pixels.to(engine.device))
        with stage("decode"):
            found = engine.detect(features, given.names, keep)
        with stage("postprocess"):
            instances(found, canvas, max_instances=_MAX_OBJECTS)
        return found

    def compare(self, output: ObjectPredictions) -> None:
        """Record the agreement of the kept objects with those of PyTorch in fp32."""
        pixels, _ = to_canvas([self.given.image], self.given.preprocessing, self.given.canvas)
        ious, errors = matched(output, self.given.expected, (pixels.shape[2], pixels.shape[3]))
        agree = (errors <= _BOX_PIXELS) & (ious >= _MASK_IOU)
        self.result.iou = ious.mean().item()
        self.result.agreement = agree.float().mean().item()


def keep(found: ObjectQueries) -> Tensor:
    """Queries of the 100 best pairs of query and name, whatever their scores: random weights give no high ones."""
    return keep_best(found, max_instances=_MAX_OBJECTS, score_threshold=0.0)


def matched(
    found: ObjectPredictions, expected: ObjectPredictions, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Mask IoU float [N] and largest error of an edge in pixels float [N] of each expected object of one image.

    It is compared with the object found whose box is nearest; rounding may change the order of queries.

    Args:
        found, expected: of one image.
        size: (height, width) of the pixels.
    """
    height, width = size
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    ours, theirs = (corners(each.boxes_cxcywh[0].cpu()) * scale for each in (found, expected))
    distances = (theirs[:, None] - ours).abs().amax(-1)
    errors, rows = distances.min(1)
    masks = found.mask_logits[0].cpu()[rows] > 0
    true_masks = expected.mask_logits[0].cpu() > 0
    shared = (masks & true_masks).sum((1, 2))
    union = (masks | true_masks).sum((1, 2))
    return torch.where(union > 0, shared / union.clamp(min=1), 1.0), errors


def object_inputs(name: str, loaded: LoadedModel, sweep: ObjectSweep) -> Sequence[ObjectInput]:
    """Inputs of each workload with one camera, with the answers of PyTorch in fp32 on the CPU."""
    spec = loaded.spec
    assert spec.canvas is not None
    canvas = replace(spec.canvas, short_side=sweep.short_side or spec.canvas.short_side)
    reference = EagerEngine(loaded.model)
    inputs = []
    for workload in sweep.workloads:
        if workload.cameras != 1:
            continue
        image = camera_images(1, *workload.size)[0]
        names = _names(name, loaded, workload.queries)
        pixels, _ = to_canvas([image], spec.preprocessing, canvas)
        with reference.encoded(pixels) as features:
            expected = reference.detect(features, names, keep)
        inputs.append(ObjectInput(workload, image, names, spec.preprocessing, canvas, expected))
    return inputs


def _names(name: str, loaded: LoadedModel, count: int) -> Tensor:
    """Embeddings float [K, D] of names; unit vectors for random weights, whose text tower knows no words."""
    if name.startswith(RANDOM):
        vectors = torch.randn(
            count, loaded.spec.condition_dim, generator=torch.Generator().manual_seed(0)
        )
        return torch.nn.functional.normalize(vectors, dim=-1)
    text_encoder = loaded.query_encoder.text_encoder
    assert text_encoder is not None
    return text_encoder.embed([query.text for query in queries(count)])
