"""What the camera does to a rendered picture: exposure, white balance, blur and sensor noise."""

from __future__ import annotations

import cv2
import numpy as np


def tone_map(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A photographed version of a rendered picture, uint8 [H, W, 3].

    Args:
        strength: 0.3 is a good indoor camera (tabletop), 1 a poor one (wild).
    """
    mean = float(rgb.mean())
    target = rng.uniform(128 - 45 * strength - 15, 128 + 40 * strength + 10)
    gain = (target / max(mean, 8.0)) ** rng.uniform(0.35, 0.7)
    gain = max(gain, (75 - 40 * strength) / max(mean, 8.0))
    balance = 1.0 + strength * rng.uniform(-0.12, 0.12, 3)
    gamma = 1.0 + strength * rng.uniform(-0.3, 0.3)
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * 255.0 * gain * balance
    # A soft shoulder keeps highlights from clipping to flat white.
    levels = np.where(levels > 200, 200 + 55 * np.tanh((levels - 200) / 55), levels)
    table = np.clip(levels, 0, 255).astype(np.uint8)[None]
    picture = cv2.LUT(rgb, table)
    if rng.random() < 0.3 + 0.3 * strength:
        sigma = rng.uniform(0.3, 0.5 + 0.9 * strength)
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    sigma = rng.uniform(0.5, 2.0 + 10.0 * strength)
    # OpenCV draws normals ten times faster than NumPy; one channel, or its scalars mean (s, 0, 0).
    noise = np.empty((picture.shape[0], picture.shape[1] * 3), np.int16)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    cv2.randn(noise, np.zeros(1), np.full(1, sigma))
    noisy = picture.astype(np.int16) + noise.reshape(picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def apply_sensor_noise(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture from a poor camera, uint8 [H, W, 3]: shake, low resolution, noise, JPEG."""
    height, width = rgb.shape[:2]
    if rng.random() < 0.15:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        cv2.line(kernel, (0, 0), tuple(int(v) for v in rng.integers(0, length, 2)), 1.0)
        rgb = cv2.filter2D(rgb, -1, kernel / max(float(kernel.sum()), 1.0))
    if rng.random() < 0.2:
        scale = rng.uniform(0.4, 0.9)
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    rgb = tone_map(np.ascontiguousarray(rgb), rng, rng.uniform(0.3, 1.0))
    if rng.random() < 0.4:
        _, code = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 92))])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return rgb
