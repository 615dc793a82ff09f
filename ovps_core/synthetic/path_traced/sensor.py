"""Simulated camera sensor: exposure, white balance, Bayer mosaic, noise, tone curve, JPEG."""

from __future__ import annotations

import cv2
import numpy as np


def photograph_linear(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convert linear light to a picture uint8 [H, W, 3] as a camera with automatic exposure does.

    Args:
        light: float32 [H, W, 3], any unit.
        rng: draws every effect.
    """
    light = np.maximum(np.nan_to_num(light, posinf=1e4), 0.0).astype(np.float32)
    level = float(np.exp(np.log(light.mean(-1) + 1e-4).mean()))
    bright = float(np.percentile(light.mean(-1), 98))
    key = 0.2 * 2 ** rng.uniform(-0.7, 0.7)
    # Mean brightness reaches the key value unless the brightest 2 % would exceed 3 times white.
    gain = min(key / level, 3.0 / max(bright, 1e-4))
    balance = np.array([rng.uniform(0.88, 1.12), 1.0, rng.uniform(0.88, 1.12)])
    x = light * (gain * balance).astype(np.float32)
    x *= _falloff(x.shape[:2], rng.uniform(0.0, 0.25))
    if rng.random() < 0.3:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.35, 0.8)))
    x = np.minimum(x, 4.0)
    shot, read = 10 ** rng.uniform(-4.2, -2.4), 10 ** rng.uniform(-3.4, -2.2)
    x = x + rng.standard_normal(x.shape, np.float32) * np.sqrt(shot * x + read**2)
    if rng.random() < 0.5:
        x = _demosaic(x)
    if rng.random() < 0.5:
        # Cameras sharpen the blur of lens and mosaic.
        x = x + (x - cv2.GaussianBlur(x, (0, 0), 1.0)) * float(rng.uniform(0.2, 0.8))
    picture = _tone(np.clip(x, 0, 4), rng)
    if rng.random() < 0.5:
        quality = int(rng.integers(55, 96))
        _, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.ascontiguousarray(picture)


def _falloff(shape: tuple[int, int], strength: float) -> np.ndarray:
    """Return a lens's vignetting, float32 [H, W, 1]."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    return 1.0 - np.float32(strength) * (y[:, None, None] ** 2 + x[None, :, None] ** 2) / 2


def _demosaic(x: np.ndarray) -> np.ndarray:
    """Keep one colour per pixel, as behind a Bayer filter, and interpolate the others."""
    top = 4.0
    raw = np.empty(x.shape[:2], np.float32)
    for dy, dx, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        raw[dy::2, dx::2] = x[dy::2, dx::2, channel]
    steps = (np.clip(raw / top, 0, 1) * 65535).astype(np.uint16)
    return cv2.cvtColor(steps, cv2.COLOR_BAYER_RGGB2RGB).astype(np.float32) * (top / 65535)


def _tone(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply highlight compression, sRGB curve, contrast and saturation; return uint8 [H, W, 3]."""
    knee = float(rng.uniform(0.5, 0.9))
    over = np.maximum(x - knee, 0)
    x = np.where(x > knee, knee + (1 - knee) * over / (over + (1 - knee)), x)
    x = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-8) ** (1 / 2.4) - 0.055)
    contrast = float(rng.uniform(0.85, 1.25))
    x = 0.5 + (x - 0.5) * contrast
    grey = x.mean(-1, keepdims=True)
    x = grey + (x - grey) * float(rng.uniform(0.75, 1.2))
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)
