"""The recipe of an OpenSeeD: the sections of its YAML files, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ovps_core.errors import ConfigError
from ovps_core.losses.matching import TermWeights
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.openseed.corrections import Corrections
from training.recipe import PRESETS, Recipe, StepOptimRecipe, check_shares


@dataclass(frozen=True)
class ModelRecipe:
    """The network.

    Attributes:
        weights: name or file of an OpenSeeD to start from; its sizes then replace ``network``.
        network: sizes of a new network with random weights.
        backbone_weights: file of a Swin to start from, as its authors publish it
            (``swin_tiny_patch4_window7_224.pth``); empty for a random one.
        text_weights: file of a text tower of CLIP's form to start from; empty for a random one.
        imagenet: start a timm trunk with weights trained on ImageNet.
        freeze_filters: freeze the slowest layers of an EfficientNet trunk, for training on a CPU.
        drop_path: highest rate of stochastic depth of a Swin.
    """

    weights: str = ""
    network: OpenSeeDConfig = field(default_factory=OpenSeeDConfig)
    backbone_weights: str = ""
    text_weights: str = ""
    imagenet: bool = True
    freeze_filters: bool = False
    drop_path: float = 0.3

    def __post_init__(self) -> None:
        """Refuse weights of towers that another file would replace."""
        given = self.backbone_weights or self.text_weights
        if given and self.weights:
            raise ConfigError(
                f"weights is {self.weights}, which has all towers; leave out {given} or weights"
            )
        if self.backbone_weights and self.network.trunk:
            raise ConfigError(
                f"backbone_weights is a Swin's, and network.trunk is {self.network.trunk}; leave one out"
            )


@dataclass(frozen=True)
class DataRecipe:
    """Labelled photographs to learn from, and how they are augmented.

    Attributes:
        images: folder of the images of all data files; empty to look for it at each file.
        size: side of the square crops, pixels, a multiple of 32.
        min_scale, max_scale: range of the random scale, relative to the image that just fits into a crop.
        flip: probability of a horizontal flip.
        colour_jitter: strength of random brightness, contrast and saturation; 0 for none, as released.
        blur: probability of a Gaussian blur.
        noise: standard deviation of Gaussian noise, for values in 0..1.
        copy_paste: probability that objects of another image of the file are pasted onto one, if it has masks.
        limit: number of images of each file, from the first; 0 for all. Packed data are learned from whole.
        pseudo_labels: learn from masks that a model made, such as those of `ovps annotate boxes`.
        workers: processes that read images, for each file.
    """

    images: str = ""
    size: int = 1024
    min_scale: float = 0.1
    max_scale: float = 2.0
    flip: float = 0.5
    colour_jitter: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    copy_paste: float = 0.0
    limit: int = 0
    pseudo_labels: bool = False
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse sizes that the network cannot take, and probabilities above 1."""
        check_shares(self, "flip", "blur", "copy_paste")
        if self.size < 32 or self.size % 32:
            raise ConfigError(f"size is {self.size}, expected a multiple of 32")


@dataclass(frozen=True)
class OptimRecipe(StepOptimRecipe):
    """Optimiser and schedule; the defaults are the paper's. A step sees one batch of every data file.

    Attributes:
        tower_lr_factor: learning rate of backbone and text tower, relative to ``lr``.
        milestones: shares of the steps after which the learning rate is divided by 10.
    """

    steps: int = 368_750
    batch: int = 16
    tower_lr_factor: float = 0.1
    weight_decay: float = 0.05
    warmup: int = 10
    milestones: tuple[float, ...] = (0.889, 0.963)
    score_every: int = 5000


@dataclass(frozen=True)
class LossRecipe:
    """The loss.

    Attributes:
        weights: weights of its terms.
        num_points: points at which masks are compared.
        denoising: train with noisy boxes of the ground truth, which decoding a mask from a box needs.
        mask_assistance: match the objects of files without masks by masks too, which the network decodes from
            their boxes and names ("online mask assistance" of the paper). They are in no loss.
    """

    weights: TermWeights = field(default_factory=TermWeights)
    num_points: int = 12544
    denoising: bool = True
    mask_assistance: bool = False


@dataclass(frozen=True)
class OpenSeeDRecipe(Recipe):
    """A run of OpenSeeD.

    Attributes:
        model: the network.
        data: photographs and augmentation.
        optim: optimiser and schedule.
        losses: the loss.
        corrections: differences from the released training: "released", or switches.
        score_on: images to score on: those of ``--val``, or the first training file's.
    """

    family: ClassVar[str] = "openseed"

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    losses: LossRecipe = field(default_factory=LossRecipe)
    corrections: Corrections = field(
        default_factory=Corrections, metadata={PRESETS: {"released": Corrections.released()}}
    )
    score_on: Literal["val", "train"] = "val"
