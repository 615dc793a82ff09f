"""A training run of the compact model, from its recipe, rendered scenes and labelled photographs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch.nn.functional as F
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo, find_weights, load_model
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import DatasetError, UsageError
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.structures.query import PartQuery
from ovps_core.synthetic.reader import is_rendered
from training.compact.augment import relight
from training.compact.data import CompactImages
from training.compact.growth import grown_state, interpolate_weights
from training.compact.module import CompactTraining, network_config
from training.compact.photographs import open_photographs
from training.compact.recipe import CompactRecipe
from training.pictures import Answer, PreviewSample
from training.run import DataSources, TrainerSettings, TrainingRun


def prepare(recipe: CompactRecipe, sources: DataSources) -> CompactRun:
    """Open the pictures and build the network.

    Raises:
        DatasetError: a folder holds neither rendered scenes nor labelled photographs.
        CheckpointError: the weights to start from are missing or damaged.
        UsageError: no pictures to train on are given.
    """
    if not sources.train:
        raise UsageError(
            "a compact model needs pictures: --data DIR [DIR ...] takes rendered scenes, which "
            "`ovps render` makes, and labelled photographs with annotations.json"
        )
    optim = recipe.optim
    config = network_config(recipe)
    val: Path | CocoFolder | None = sources.val
    if isinstance(val, Path) and not is_rendered(val):
        # A model's masks are never scored against.
        val = open_photographs(val, labelled_only=recipe.data.labelled_only, objects=config.objects)
        _require_answers(val, VocabularyEncoder(config.vocabulary, config.synonyms))
    images = CompactImages(
        sources.train,
        val,
        size=optim.phases[0][1],
        batch=optim.batch,
        limit=recipe.data.limit,
        augment=recipe.data.augment,
        photograph_share=recipe.data.photograph_share,
        pseudo_labels=recipe.data.pseudo_labels,
        labelled_only=recipe.data.labelled_only,
        taught={name for name, *_ in recipe.model.objects},
        unlabelled=recipe.data.unlabelled_folders,
        unlabelled_share=recipe.data.unlabelled_share,
        object_parts=config.object_parts,
        seed=optim.seed,
        workers=recipe.data.workers,
    )
    timer = Timer(timedelta(minutes=optim.minutes), interval="step")
    module = CompactTraining(config, recipe, images, timer)
    run = CompactRun(recipe, module, images, timer)
    run.scored_finally = val if isinstance(val, CocoFolder) else None
    return run


def _require_answers(val: CocoFolder, query_encoder: VocabularyEncoder) -> None:
    """Refuse labelled pictures that cannot be scored in the end, before hours are spent.

    Raises:
        DatasetError: the model will know none of their categories, or no picture says which of them it shows.
    """
    queries = [PartQuery(each.name, object=each.object, part=each.part) for each in val.categories]
    accepted, refused = query_encoder.read(queries)
    if not accepted:
        reason = refused[0].reason if refused else "it has no category"
        raise DatasetError(
            f"--val {val.directory}: the model will know none of its {len(queries)} categories: {reason} "
            "Give pictures of objects that it knows, or add theirs with --objects."
        )
    if not any(map(val.scored, val.images)):
        raise DatasetError(
            f"--val {val.directory}: no picture has a mask that can be scored, or says that a category is absent. "
            "Label some, or leave out --val."
        )


class CompactRun(TrainingRun):
    """Network, scenes and trainer settings of one run.

    Args:
        recipe: every number.
        module: the network with its losses.
        images: the scenes and photographs.
        timer: ends the run.
    """

    def __init__(
        self,
        recipe: CompactRecipe,
        module: CompactTraining,
        images: CompactImages,
        timer: Timer,
    ) -> None:
        optim = recipe.optim
        settings = TrainerSettings(
            max_steps=-1,
            precision=optim.precision,
            clip_norm=optim.clip_norm,
            ema_decay=optim.ema_decay,
            checkpoint_every=timedelta(minutes=5),
            log_every=20,
            score_every=optim.score_every,
        )
        config = module.model.config
        super().__init__(
            recipe,
            module,
            module.model,
            VocabularyEncoder(config.vocabulary, config.synonyms),
            images,
            settings,
            scored_on="val" if images.val_pictures is not None else "",
            curves=("loss/total", "loss/cross_entropy", "loss/dice", "score/part_miou"),
            callbacks=(timer,),
        )
        self.training = module
        self.pictures = images

    def result(self) -> tuple[dict[str, Tensor], CheckpointInfo]:
        """Tensors of the network, calibrated as its start or not at all, and the header of their weights file."""
        tensors, info = super().result()
        model = self.training.recipe.model
        if model.share < 1:
            start = load_model(find_weights(model.start)).model
            assert isinstance(start, PartFPN) and isinstance(info.config, PartFPNConfig)
            cpu = {key: value.cpu() for key, value in tensors.items()}
            tensors = interpolate_weights(cpu, grown_state(start, info.config), model.share)
        return tensors, replace(info, licence="Apache-2.0", source=self.training.images.content)

    def preview(self) -> Iterator[PreviewSample]:
        """Augmented training samples under random light; the labels are object-parts, 0 is background."""
        for pictures, ids, _ in self.images.train_dataloader():
            lit = (relight(pictures) * 255).byte().permute(0, 2, 3, 1)
            _, _, object_parts = self.training.labels(ids)
            for rgb, labels in zip(lit, object_parts, strict=True):
                yield PreviewSample(rgb.numpy(), labels.numpy() - 1)

    def answers(self) -> Iterator[Answer]:
        """True and predicted object-parts of the validation pictures; 0 is background."""
        training, pictures = self.training, self.pictures.val_pictures
        if pictures is None:
            return
        for index in range(len(pictures)):  # type: ignore[arg-type]
            rgb, ids, _ = pictures[index]
            pixels = rgb[None].to(training.device).float() / 127.5 - 1
            scores = training.model.scores(pixels)[2].float()
            predicted = F.interpolate(scores, size=ids.shape[-2:], mode="bilinear")[0].argmax(0)
            truth = training.labels(ids.to(training.device))[2]
            picture = rgb.permute(1, 2, 0).numpy()
            yield Answer(picture, truth.cpu().numpy() - 1, predicted.cpu().numpy() - 1)
