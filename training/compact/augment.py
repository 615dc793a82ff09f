"""Random changes of training pictures: crops, lighting, and the faults of a camera."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.synthetic.settings import IGNORED

Picture = NDArray[np.uint8]


def new_generator() -> np.random.Generator:
    """A generator seeded by PyTorch's, so that one seed decides a run."""
    return np.random.default_rng(int(torch.randint(2**31, ()).item()))


def scaling(height: int, width: int, size: int) -> NDArray[np.float64]:
    """The transform from a whole picture to a square of ``size`` pixels, float64 [2, 3], centres on centres."""
    x, y = size / width, size / height
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5]])


def random_similarity(
    centre: tuple[float, float], scale: float, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A random transform from picture to crop, float64 [2, 3]: turned, mirrored, slightly stretched.

    Args:
        centre: (x, y) of the picture that comes to the middle of the crop, pixels.
        scale: pixels of the crop per pixel of the picture.
        size: side of the crop, pixels.
        rng: draws the transform.
    """
    aspect = np.exp(rng.uniform(-0.2, 0.12))  # inputs of 4:3 are squeezed to 9:8
    turn = rng.normal(0, 0.25) if rng.random() < 0.85 else rng.uniform(-np.pi, np.pi)
    mirror = rng.choice([-1.0, 1.0])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = np.diag([mirror * aspect, 1 / aspect]) @ rotation * scale
    return np.column_stack([linear, size / 2 - linear @ np.array(centre)])


def mirrors(matrix: NDArray[np.float64]) -> bool:
    """True if a transform float64 [2, 3] mirrors the picture."""
    return bool(np.linalg.det(matrix[:, :2]) < 0)


def crop(
    rgb: Picture,
    ids: Picture,
    matrix: NDArray[np.float64],
    size: int,
    *,
    unknown_outside: bool,
    mirrored_ids: Picture | None = None,
) -> tuple[Picture, Picture]:
    """Warp a picture and its part map to a square of ``size`` pixels.

    Beyond the picture both are mirrored, or grey and of unknown content.

    Args:
        rgb, ids: the picture uint8 [H, W, 3] and its part map uint8 [H, W].
        matrix: transform from picture to crop, float64 [2, 3].
        size: side of the crop, pixels.
        unknown_outside: what is beyond the picture is unknown.
        mirrored_ids: uint8 [256], the id that each one becomes in a mirror; None if they stay.
    """
    rgb, ids = np.asarray(rgb), np.asarray(ids)
    if np.linalg.norm(matrix[:, 0]) < 0.6:  # shrinking without a blur aliases
        factor = max(0.25, float(np.linalg.norm(matrix[:, 0])) * 1.4)
        shape = max(8, round(rgb.shape[1] * factor)), max(8, round(rgb.shape[0] * factor))
        small = np.asarray(cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA), np.uint8)
        x, y = rgb.shape[1] / shape[0], rgb.shape[0] / shape[1]
        to_full = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
        picture_matrix = matrix @ to_full
    else:
        small, picture_matrix = rgb, matrix
    border = cv2.BORDER_CONSTANT if unknown_outside else cv2.BORDER_REFLECT_101
    grey = (124, 116, 104)
    warped = cv2.warpAffine(
        small,
        picture_matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=border,
        borderValue=grey,
    )
    labels = cv2.warpAffine(
        ids,
        matrix,
        (size, size),
        flags=cv2.INTER_NEAREST,
        borderMode=border,
        borderValue=(IGNORED,),
    )
    if mirrored_ids is not None and mirrors(matrix):
        labels = mirrored_ids[labels]
    return np.asarray(warped, np.uint8), np.asarray(labels, np.uint8)


def degrade(rgb: Picture, rng: np.random.Generator) -> Picture:
    """Random faults of a camera on RGB uint8 [H, W, 3]: hue, saturation, low resolution, blur and JPEG."""
    if rng.random() < 0.4:
        hsv = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.normal(0, 10)) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.2, 1.5), 0, 255)
        rgb = np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)
    if rng.random() < 0.25:
        height, width = rgb.shape[:2]
        factor = rng.uniform(0.4, 0.9)
        small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        rgb = np.asarray(cv2.resize(small, (width, height)), np.uint8)
    elif rng.random() < 0.2:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.4, 1.2)), np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        rgb = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", rgb, quality)[1], cv2.IMREAD_COLOR), np.uint8
        )
    return rgb


def relight(images: Tensor) -> Tensor:
    """Random exposure, colour cast, gamma, contrast and noise.

    Args:
        images: RGB uint8 [B, 3, H, W].

    Returns:
        float [B, 3, H, W], 0 to 1.
    """
    count = images.shape[0]

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1, device=images.device).uniform_(low, high)

    images = images.float() / 255
    images = (images * draw(0.6, 1.4) * draw(0.85, 1.15, 3)).clamp(1e-3, 1) ** draw(0.7, 1.4)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * draw(0.7, 1.3)
    return (images + torch.randn_like(images) * draw(0, 0.04)).clamp(0, 1)
