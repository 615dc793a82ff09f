"""Object segmenter: objects and stuff by name, as boxes and masks, from an image and words."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo, LoadedModel, ModelFile, open_model
from ovps_core.checkpoints.registry import DEFAULT_OBJECT_MODEL
from ovps_core.engines import DEFAULT_CACHE, EngineCache, make_engine
from ovps_core.engines.tensor_engine import Keep, TensorEngine
from ovps_core.errors import UsageError
from ovps_core.language.object_names import ObjectNames
from ovps_core.models.interface import Features
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.text.literal import require_readable
from ovps_core.pipeline.canvas import Canvas, to_canvas
from ovps_core.pipeline.postprocess.instances import Instances, instances, keep_best
from ovps_core.pipeline.postprocess.panoptic import (
    keep_all,
    keep_scored,
    panoptic_map,
    semantic_scores,
)
from ovps_core.pipeline.postprocess.panoptic_options import PanopticOptions, check_share
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.boxes import Box, ObjectBox, check_corners
from ovps_core.structures.image_files import load_image
from ovps_core.structures.masks import ObjectMask, ObjectMasks

_MAX_CACHED_VOCABULARIES = 32


@dataclass(frozen=True)
class EncodedObjects:
    """An image that was encoded once and can be asked any number of times.

    Attributes:
        features: of the network.
        canvas: place of the image in the network's pixels.
    """

    features: Features
    canvas: Canvas


class ObjectSegmenter:
    """Segmenter of images for names of objects. Calls are independent; only caches are kept between them.

        >>> segmenter = ObjectSegmenter.from_pretrained("openseed-swint")  # doctest: +SKIP
        >>> found = segmenter.detect("desk.jpg", ["knife", "mug"])  # doctest: +SKIP

    Args:
        loaded: encoder of names and header of the weights.
        engine: runs the network. An engine of exported graphs builds them for each shape of images when it first
            sees it, which takes minutes; that is for cameras, not for folders of photographs.
        short_side: size to which the short side of images is resized, pixels; the model's own by default.
            Smaller is faster and finds fewer small objects.

    Attributes:
        max_instances: instances that evaluations ask for; the released variants have 100 or 300.

    Raises:
        UsageError: the model finds no objects, or ``short_side`` is too small.
    """

    def __init__(
        self, loaded: LoadedModel | ModelFile, engine: TensorEngine, short_side: int | None = None
    ) -> None:
        _check_finds_objects(loaded)
        canvas, text_encoder = loaded.spec.canvas, loaded.query_encoder.text_encoder
        assert text_encoder is not None
        if short_side is not None:
            if canvas is None:
                raise UsageError(f"{loaded.info.name} has one input size; leave short_side out")
            if short_side < canvas.stride:
                raise UsageError(f"short_side is {short_side}; expected {canvas.stride} or more")
            canvas = replace(canvas, short_side=short_side)
        self.info: CheckpointInfo = loaded.info
        self.engine = engine
        self.text_encoder = text_encoder
        self.max_instances = loaded.spec.max_instances
        self._preprocessing = loaded.spec.preprocessing
        self._canvas = canvas
        self._embed = functools.lru_cache(_MAX_CACHED_VOCABULARIES)(self._embed_names)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = DEFAULT_OBJECT_MODEL,
        *,
        backend: str = "torch",
        device: str = "auto",
        precision: str = "auto",
        short_side: int | None = None,
        engine_cache: EngineCache = DEFAULT_CACHE,
    ) -> ObjectSegmenter:
        """Load a model by name or file (see ``ovps models``).

        Args:
            backend, device, precision: see :func:`ovps_core.engines.make_engine`. "torch" needs no preparation.
            short_side: see the class.
            engine_cache: folder of built engines, with a callback for the progress of a build.

        Raises:
            CheckpointError: the weights are missing, damaged or belong to another model.
            BackendError, UsageError, MissingDependencyError: see :func:`ovps_core.engines.make_engine`.
            UsageError: the model finds no objects.
        """
        loaded = open_model(name)
        _check_finds_objects(loaded)
        if loaded.query_encoder.text_encoder is not None:
            loaded.query_encoder.text_encoder.keep_embeddings(loaded.info.digest)
        engine = make_engine(
            loaded,
            backend=backend,
            device=device,
            precision=precision,
            engine_cache=engine_cache,
        )
        # Only packaged graphs of part models run without PyTorch.
        assert isinstance(engine, TensorEngine)
        return cls(loaded, engine, short_side)

    @property
    def name(self) -> str:
        """Name and digest of the weights."""
        return str(self.info)

    @property
    def short_side(self) -> int | None:
        """Pixels to which the short side of images is resized; None for a model of one input size."""
        return self._canvas.short_side if self._canvas else None

    def encode(self, image: RgbImage | str | Path) -> EncodedObjects:
        """Encode an image once, to ask for names any number of times.

        Args:
            image: RGB uint8 [H, W, 3], or a file.

        Raises:
            ImageError: not an image.
        """
        pixels, canvas = self._pixels(image)
        return EncodedObjects(self.engine.encode_image(pixels), canvas)

    def detect(
        self,
        image: RgbImage | str | Path | EncodedObjects,
        names: str | Iterable[str] | ObjectNames,
        *,
        score_threshold: float = PanopticOptions.score_threshold,
        max_objects: int = 100,
    ) -> ObjectMasks:
        """Find the instances of names, the highest score first. Their masks may overlap.

        Args:
            image: RGB uint8 [H, W, 3], a file, or the result of :meth:`encode`.
            names: names of things; those of stuff compete for the queries but are not reported.
            score_threshold: lowest score of an instance, 0..1: class score times the mean mask probability.
            max_objects: highest number of instances.

        Raises:
            ImageError: not an image.
            QueryError: there is no name, an empty one, or one that is too long for the model.
            UsageError: ``max_objects`` is below 1, or ``score_threshold`` not from 0 to 1.
        """
        found, canvas, requested = self._instances(image, names, score_threshold, max_objects)
        assert found.masks is not None
        boxes = found.boxes.tolist()
        masks = found.masks.cpu().numpy()
        objects: list[ObjectMask] = []
        for label, score, box, mask in zip(
            found.labels.tolist(), found.scores.tolist(), boxes, masks, strict=True
        ):
            if mask.any():
                x1, y1, x2, y2 = box
                made = _object(len(objects) + 1, requested.all[label], score, mask)
                objects.append(replace(made, predicted_box=(x1, y1, x2, y2)))
        return self._result(canvas, requested, objects)

    def detect_boxes(
        self,
        image: RgbImage | str | Path | EncodedObjects,
        names: str | Iterable[str] | ObjectNames,
        *,
        score_threshold: float = PanopticOptions.score_threshold,
        max_objects: int = 100,
    ) -> tuple[ObjectBox, ...]:
        """Find the instances of names without masks of full size, the highest score first.

        Arguments and errors are those of :meth:`detect`. The score is that of the class alone.
        """
        found, _, requested = self._instances(
            image, names, score_threshold, max_objects, with_masks=False
        )
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        return tuple(
            ObjectBox(requested.all[label], score, tuple(box)) for label, score, box in rows
        )

    def panoptic(
        self,
        image: RgbImage | str | Path | EncodedObjects,
        names: str | Iterable[str] | ObjectNames,
        stuff: str | Iterable[str] = (),
        *,
        options: PanopticOptions | None = None,
    ) -> ObjectMasks:
        """Divide the image into instances of things and regions of stuff that do not overlap.

        Args:
            image: see :meth:`detect`.
            names: names of things.
            stuff: names of stuff.
            options: thresholds.

        Raises:
            ImageError, QueryError: see :meth:`detect`.
        """
        requested = ObjectNames.of(names, stuff)
        options = options or PanopticOptions()
        keep = functools.partial(keep_scored, score_threshold=options.score_threshold)
        predictions, canvas = self._predict(image, requested, keep)
        ids, segments = panoptic_map(predictions, canvas, len(requested.things), options=options)
        labels = ids.cpu().numpy()
        objects = [
            _object(
                segment.id,
                requested.all[segment.label],
                segment.score,
                labels == segment.id,
                segment.is_thing,
            )
            for segment in segments
        ]
        return self._result(canvas, requested, objects)

    def semantic(
        self,
        image: RgbImage | str | Path | EncodedObjects,
        names: str | Iterable[str] | ObjectNames,
        stuff: str | Iterable[str] = (),
    ) -> ObjectMasks:
        """Give every pixel to one of the names, one region per name.

        The names compete for each pixel and there is no name for the rest. Name what else is in the picture too.

        Args:
            image: see :meth:`detect`.
            names, stuff: names; here things and stuff are treated alike.
        """
        requested = ObjectNames.of(names, stuff)
        predictions, canvas = self._predict(image, requested, keep_all)
        scores = semantic_scores(predictions, canvas)
        shares = (scores / scores.sum(0).clamp(min=1e-6)).cpu().numpy()
        winner = shares.argmax(0)
        objects: list[ObjectMask] = []
        for label, name in enumerate(requested.all):
            mask = winner == label
            if mask.any():
                score = float(shares[label][mask].mean())
                thing = label < len(requested.things)
                objects.append(_object(len(objects) + 1, name, score, mask, thing))
        return self._result(canvas, requested, objects)

    @torch.inference_mode()
    def decode_masks(
        self,
        image: RgbImage | str | Path | EncodedObjects,
        boxes: Sequence[Sequence[float]],
        names: Sequence[str],
    ) -> ObjectMasks:
        """Decode the mask of each box, given the name of what is in it.

        Args:
            image: see :meth:`detect`.
            boxes: (x1, y1, x2, y2) in pixels of the image.
            names: the name of each box.

        Returns:
            One object per box in the order given, with the ids 1, 2, ...; a box whose mask is empty is left out.
            The score is the mean probability over the mask.

        Raises:
            QueryError: a name is empty, or too long for the model.
            UsageError: there are not as many names as boxes, or a box has no area in the image.
        """
        if len(boxes) != len(names):
            raise UsageError(
                f"{len(boxes)} boxes and {len(names)} names; expected one name per box"
            )
        source, canvas = self._place(image)
        given = zip(boxes, names, strict=True)
        checked = [check_corners(box, name, *canvas.image) for box, name in given]
        corners = torch.tensor(checked, dtype=torch.float32)
        requested = ObjectNames(tuple(dict.fromkeys(names)))
        objects: list[ObjectMask] = []
        if checked:
            normalised, embedded = canvas.normalised(corners), self._embed(tuple(names))
            with self.engine.encoded(source) as features:
                logits = self.engine.decode_masks(features, normalised[None], embedded[None])[0]
            for row, name in enumerate(names):
                probability = canvas.masks(logits[row : row + 1])[0].sigmoid().cpu().numpy()
                mask = probability > 0.5
                if mask.any():
                    score = float(probability[mask].mean())
                    objects.append(_object(row + 1, name, score, mask))
        return self._result(canvas, requested, objects)

    def _instances(
        self,
        image: RgbImage | str | Path | EncodedObjects,
        names: str | Iterable[str] | ObjectNames,
        score_threshold: float,
        max_objects: int,
        *,
        with_masks: bool = True,
    ) -> tuple[Instances, Canvas, ObjectNames]:
        """Instances of names, the place of the image in the pixels, and the names that were asked for."""
        check_share("score_threshold", score_threshold)
        _check_count(max_objects)
        requested = ObjectNames.of(names)
        keep = functools.partial(
            keep_best, max_instances=max_objects, score_threshold=score_threshold
        )
        predictions, canvas = self._predict(image, requested, keep)
        found = instances(
            predictions,
            canvas,
            max_instances=max_objects,
            score_threshold=score_threshold,
            num_things=len(requested.things),
            with_masks=with_masks,
        )
        return found, canvas, requested

    def _predict(
        self, image: RgbImage | str | Path | EncodedObjects, names: ObjectNames, keep: Keep
    ) -> tuple[ObjectPredictions, Canvas]:
        """Predictions of the queries that ``keep`` chooses, and the place of the image in the pixels."""
        embedded = self._embed(names.all)
        source, canvas = self._place(image)
        with self.engine.encoded(source) as features:
            return self.engine.detect(features, embedded, keep), canvas

    def _place(
        self, image: RgbImage | str | Path | EncodedObjects
    ) -> tuple[Tensor | Features, Canvas]:
        """Features of an encoded image, or the pixels of another, and the place of the image in them."""
        if isinstance(image, EncodedObjects):
            return image.features, image.canvas
        return self._pixels(image)

    def _pixels(self, image: RgbImage | str | Path) -> tuple[Tensor, Canvas]:
        if isinstance(image, str | Path):
            image = load_image(image)
        pixels, (canvas,) = to_canvas([image], self._preprocessing, self._canvas)
        return pixels, canvas

    def _embed_names(self, names: tuple[str, ...]) -> Tensor:
        require_readable(names, self.text_encoder)
        return self.text_encoder.embed(names)

    def _result(
        self, canvas: Canvas, names: ObjectNames, objects: Sequence[ObjectMask]
    ) -> ObjectMasks:
        height, width = canvas.image
        return ObjectMasks(height, width, names.all, tuple(objects), self.name)


def _check_count(max_objects: int) -> None:
    if max_objects < 1:
        raise UsageError(f"max_objects is {max_objects}; expected 1 or more")


def _check_finds_objects(loaded: LoadedModel | ModelFile) -> None:
    if not loaded.spec.detects_objects:
        raise UsageError(
            f"{loaded.info.name} finds parts, not objects; use `ovps segment` or PartSegmenter, or a model "
            f"such as {DEFAULT_OBJECT_MODEL}"
        )


def _object(
    number: int, name: str, score: float, mask: NDArray[np.bool_], is_thing: bool = True
) -> ObjectMask:
    """An object of a mask bool [H, W] with at least one pixel, cut to its tight box."""
    box = Box.of_mask(mask)
    return ObjectMask(number, name, score, box, mask[box.slices].copy(), is_thing=is_thing)
