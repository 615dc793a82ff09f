"""The recipe of a compact model: the sections of its YAML files, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ovps_core.checkpoints import find_weights
from ovps_core.errors import ConfigError
from ovps_core.evaluation.household import HOUSEHOLD
from ovps_core.pipeline.preprocess import image_paths
from ovps_core.synthetic.settings import Level
from training import recipe


@dataclass(frozen=True)
class ModelRecipe:
    """The network.

    Attributes:
        start: weights of a compact model to start from, by name or path; "" starts from ImageNet's.
        share: share of the learned weights in the result; the rest are those of ``start``, which keeps most of
            what it knew (WiSE-FT, Wortsman et al., CVPR 2022). Scores while training are of the learned weights.
        backbone: a timm network with maps at strides 4 to 32, started from its ImageNet weights; with ``start``
            it is that network's.
        freeze_filters: keep the first layers and the depthwise filters of an EfficientNet as ImageNet
            trained them; False for every other backbone.
        objects: objects to add to those of ``start``, each followed by its parts: [[valve, wheel, stem]]. Known
            ones are learned again. Only their absence from photographs is learned.
        keep: objects of ``start`` that the model still knows afterwards; empty for all.
        words: a name of an object or a part, followed by other words for it: [[valve, tap, gate valve]]. They
            are kept in the weights file.
    """

    start: str = ""
    share: float = 1.0
    objects: tuple[tuple[str, ...], ...] = ()
    keep: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    backbone: str = "efficientnet_lite0"
    freeze_filters: bool = True

    def __post_init__(self) -> None:
        """Refuse other words for a model without weights to start from."""
        if (self.objects or self.keep or self.words) and not self.start:
            raise ConfigError("objects, keep and words change a trained model; name it as `start`")
        if not 0 < self.share <= 1 or (self.share < 1 and not self.start):
            raise ConfigError(
                f"share is {self.share}; expected above 0 to 1, and below 1 only with `start`"
            )

    @property
    def grows(self) -> bool:
        """The network knows other words than the one that it starts from."""
        return bool(self.objects or self.keep or self.words)


@dataclass(frozen=True)
class DataRecipe:
    """Rendered scenes to learn from.

    Attributes:
        level: the level of rendered scenes whose words the model knows; "wild" includes the tabletop's.
        limit: number of scenes, from the first; 0 for all.
        augment: crop, turn and mirror scenes at random.
        photograph_share: share of each batch from labelled photographs, if there are any; two fifths of
            it show their objects pasted into scenes.
        pseudo_labels: learn from annotations that a model made, too.
        labelled_only: leave out photographs that nobody has labelled: those with annotations that a model made,
            unless ``pseudo_labels`` is set, and those without any that do not say what is complete.
        unlabelled: folders of pictures of which no label is read; "household" is the packaged one. On them the
            network learns the answers of ``model.start`` only, by ``losses.retain``.
        unlabelled_share: share of each batch from ``unlabelled``.
        workers: processes that read pictures; 0 reads in the process that trains. With them a new size of the
            crops (``optim.phases``) comes a few batches later.
    """

    level: Level = "wild"
    limit: int = 0
    augment: bool = True
    photograph_share: float = 0.4
    pseudo_labels: bool = False
    labelled_only: bool = False
    unlabelled: tuple[str, ...] = ()
    unlabelled_share: float = 0.3
    workers: int = 0

    def __post_init__(self) -> None:
        """Refuse shares above 1."""
        recipe.check_shares(self, "photograph_share", "unlabelled_share")

    @property
    def unlabelled_folders(self) -> list[Path]:
        """The folders of ``unlabelled``."""
        packaged = {"household": HOUSEHOLD / "images"}
        return [packaged.get(name, Path(name)) for name in self.unlabelled]


@dataclass(frozen=True)
class OptimRecipe(recipe.OptimRecipe):
    """Optimiser and schedule. The run ends by the clock.

    The learning rate warms up, then falls as a cosine of the time used. A batch holds scenes.

    Attributes:
        minutes: time to train, all resumed runs together.
        phases: (share of the time, side of the crops, stride of the labels), the latter two in pixels.
            Coarse labels are four times cheaper and teach the classes; fine ones then teach the outlines.
        backbone_lr_factor: the backbone's learning rate relative to ``lr``; all other layers start from
            random weights.
        warmup: share of the time in which the learning rate rises.
    """

    minutes: float = 80.0
    phases: tuple[tuple[float, int, int], ...] = ((0.65, 128, 4), (0.35, 192, 2))
    batch: int = 32
    lr: float = 2e-3
    backbone_lr_factor: float = 0.3
    weight_decay: float = 0.02
    warmup: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    score_every: int = 250

    def __post_init__(self) -> None:
        """Refuse a run without time or without phases."""
        super().__post_init__()
        if self.minutes <= 0 or not self.phases:
            raise ConfigError(f"expected minutes above 0 and at least one phase, got {self}")


@dataclass(frozen=True)
class CompactLossWeights:
    """Weights of the loss terms; the cross entropy has weight 1.

    Attributes:
        dice: weight of the soft Dice loss, in which small parts count as much as large ones.
        absence: weight of the loss of classes known to be absent from unlabelled pixels of photographs.
        retain: weight of the cross entropy with the answers of ``model.start`` where a pixel has no label. It
            keeps a model from forgetting objects that the new pictures do not label.
    """

    dice: float = 0.5
    absence: float = 0.5
    retain: float = 0.0


@dataclass(frozen=True)
class CompactRecipe(recipe.Recipe):
    """A run of the compact model.

    Attributes:
        model: the network.
        data: the rendered scenes.
        optim: optimiser and schedule.
        losses: weights of the losses.
    """

    family: ClassVar[str] = "compact"

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    losses: CompactLossWeights = field(default_factory=CompactLossWeights)

    def __post_init__(self) -> None:
        """Refuse pictures without labels where nothing is learned from them."""
        if self.data.unlabelled and not (self.model.start and self.losses.retain):
            raise ConfigError(
                "pictures without labels teach the answers of an earlier model; "
                "data.unlabelled needs model.start and losses.retain"
            )

    def files_of_every_step(self) -> dict[str, list[Path]]:
        """Weights whose answers are learned or that are mixed in, and pictures without labels."""
        pictures = [p for folder in self.data.unlabelled_folders for p in image_paths(folder)]
        needed = self.model.start and (self.losses.retain or self.model.share < 1)
        start = [find_weights(self.model.start)] if needed else []
        files = {"model.start": start, "data.unlabelled": pictures}
        return {key: paths for key, paths in files.items() if paths}
