"""Camera model for rendered pictures: lens, sensor noise, demosaicing, white balance, tone, JPEG.

It is more detailed than ``camera_effects``: exposure and noise act on linear light.
"""

from __future__ import annotations

import cv2
import numpy as np


def simulate_photograph(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Degrade a rendered picture as a randomly drawn camera does.

    Args:
        rgb: uint8 [H, W, 3].
        rng: draws the camera and its noise.

    Returns:
        uint8 [H, W, 3].
    """
    if rng.random() < 0.12:
        rgb = _motion_blur(rgb, rng)
    if rng.random() < 0.3:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 1.3)), np.uint8)
    if rng.random() < 0.2:
        rgb = _lower_resolution(rgb, rng)
    linear = (rgb.astype(np.float32) / 255) ** 2.2
    linear = _expose(linear, rng)
    if rng.random() < 0.4:
        linear *= _vignette(rgb.shape[0], rgb.shape[1], rng.uniform(0.05, 0.4))[..., None]
    linear = _add_sensor_noise(linear, rng)
    picture = _tone_map(linear, rng)
    if rng.random() < 0.4:
        soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 1.6))
        amount = rng.uniform(0.2, 1.2)
        picture = np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)
    if rng.random() < 0.65:
        picture = _compress(picture, rng)
    return np.ascontiguousarray(picture, dtype=np.uint8)


def _motion_blur(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    ends = [tuple(int(v) for v in rng.integers(0, length, 2)) for _ in range(2)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(rgb, -1, kernel / max(float(kernel.sum()), 1.0)), np.uint8)


def _lower_resolution(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = rgb.shape[:2]
    scale = rng.uniform(0.45, 0.9)
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _expose(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply a random exposure and a random white balance error to linear light [H, W, 3]."""
    mean = float(linear.mean())
    target = float(np.exp(rng.uniform(np.log(0.11), np.log(0.42))))
    gain = (target / max(mean, 0.01)) ** rng.uniform(0.4, 1.0)
    warmth = rng.normal(0, 0.12)
    balance = np.array([np.exp(warmth), np.exp(rng.normal(0, 0.03)), np.exp(-warmth)])
    return (linear * np.clip(gain, 0.25, 4) * balance).astype(np.float32)


def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    """Compute the brightness [H, W] of a lens: 1 in the middle, ``1 - strength`` in the corners."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    return np.asarray(1 - strength * (x * x + y * y) / 2)


def _add_sensor_noise(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add shot and read noise; 40% of the pictures also go through a Bayer mosaic."""
    gain = float(np.exp(rng.uniform(np.log(2e-5), np.log(2.5e-3))))
    read = rng.uniform(0.0005, 0.008)
    noise = np.empty(linear.shape, np.float32)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    cv2.randn(noise, np.zeros(3), np.ones(3))
    if rng.random() < 0.5:  # denoising in the camera leaves correlated noise
        size = rng.uniform(0.5, 1.2)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), size) * (1 + 2 * size), np.float32)
    noisy = linear + noise * np.sqrt(np.clip(linear, 0, 4) * gain + read**2)
    if rng.random() < 0.4:
        noisy = _mosaic_and_demosaic(noisy)
    return np.clip(noisy, 0, None)


def _mosaic_and_demosaic(linear: np.ndarray) -> np.ndarray:
    raw = np.clip(linear, 0, 1) ** 0.5  # square roots keep the shadows' steps in 16 bit
    mosaic = raw[..., 1].copy()
    mosaic[::2, ::2] = raw[::2, ::2, 0]
    mosaic[1::2, 1::2] = raw[1::2, 1::2, 2]
    filled = cv2.cvtColor((mosaic * 65535).astype(np.uint16), cv2.COLOR_BayerBG2BGR)
    return ((filled[..., ::-1].astype(np.float32) / 65535) ** 2).astype(np.float32)


def _tone_map(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convert linear light [H, W, 3] to uint8: tone curve, contrast, saturation and haze."""
    knee = rng.uniform(0.6, 0.95)
    over = np.maximum(linear - knee, 0)
    rolled = np.minimum(linear, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee + 1e-3)))
    tone = np.clip(rolled, 0, 1) ** (1 / rng.uniform(1.9, 2.5))
    contrast = rng.uniform(-0.1, 0.35)  # weight of an S-shaped curve
    tone = (1 - contrast) * tone + contrast * (3 * tone**2 - 2 * tone**3)
    grey = tone.mean(axis=2, keepdims=True)
    tone = grey + (tone - grey) * rng.uniform(0.6, 1.35)
    haze = rng.uniform(0, 0.08) if rng.random() < 0.3 else 0.0
    return (np.clip(tone * (1 - haze) + haze, 0, 1) * 255 + 0.5).astype(np.uint8)


def _compress(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    quality = int(rng.triangular(35, 85, 97))
    _, code = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return decoded[..., ::-1]
