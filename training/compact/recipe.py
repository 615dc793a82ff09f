"""The recipe of a compact model: the sections of its YAML files, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ovps_core.errors import ConfigError
from ovps_core.synthetic.settings import Level
from training.recipe import Precision, Recipe


@dataclass(frozen=True)
class ModelRecipe:
    """The network.

    Attributes:
        backbone: a timm network with maps at strides 4 to 32, started from its ImageNet weights.
        freeze_filters: keep the first layers and the depthwise filters of an EfficientNet as ImageNet
            trained them; False for every other backbone.
    """

    backbone: str = "efficientnet_lite0"
    freeze_filters: bool = True


@dataclass(frozen=True)
class DataRecipe:
    """Rendered scenes to learn from.

    Attributes:
        level: the level of rendered scenes whose words the model knows; "wild" includes the tabletop's.
        limit: number of scenes, from the first; 0 for all.
        augment: crop, turn and mirror scenes at random.
    """

    level: Level = "wild"
    limit: int = 0
    augment: bool = True


@dataclass(frozen=True)
class OptimRecipe:
    """Optimiser and schedule. The run ends by the clock.

    Attributes:
        minutes: time to train, all resumed runs together.
        phases: (share of the time, side of the crops, stride of the labels), the latter two in pixels.
            Coarse labels are four times cheaper and teach the classes; fine ones then teach the outlines.
        batch: scenes per step.
        lr: learning rate of AdamW; it warms up, then falls as a cosine of the time used.
        backbone_lr_factor: the backbone's learning rate relative to ``lr``; all other layers start from
            random weights.
        weight_decay: weight decay of AdamW; biases and norms never decay.
        warmup: share of the time in which the learning rate rises.
        clip_norm: maximum norm of the whole gradient; 0 for no limit.
        precision: 32-true, bf16-mixed or 16-mixed.
        ema_decay: decay per step of the moving average of the weights; 0 for none.
        score_every: steps between scores on the validation scenes.
        seed: seed of all random numbers.
    """

    minutes: float = 80.0
    phases: tuple[tuple[float, int, int], ...] = ((0.65, 128, 4), (0.35, 192, 2))
    batch: int = 32
    lr: float = 2e-3
    backbone_lr_factor: float = 0.3
    weight_decay: float = 0.02
    warmup: float = 0.02
    clip_norm: float = 1.0
    precision: Precision = "bf16-mixed"
    ema_decay: float = 0.998
    score_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a run without time or without phases."""
        if self.minutes <= 0 or not self.phases:
            raise ConfigError(f"expected minutes above 0 and at least one phase, got {self}")


@dataclass(frozen=True)
class CompactLossWeights:
    """Weights of the loss terms; the cross entropy has weight 1.

    Attributes:
        dice: weight of the soft Dice loss, in which small parts count as much as large ones.
    """

    dice: float = 0.5


@dataclass(frozen=True)
class CompactRecipe(Recipe):
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

    @property
    def seed(self) -> int:
        """Seed of all random numbers of the run."""
        return self.optim.seed
