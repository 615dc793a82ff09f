"""What the camera does to a rendered picture: exposure, white balance, blur and sensor noise."""

from __future__ import annotations

import cv2
import numpy as np


def develop(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A photographed version of a rendered picture, uint8 [H, W, 3].

    Args:
        strength: 0.3 is a good indoor camera (tabletop), 1 a poor one (wild).
    """
    mean = float(rgb.mean())
    target = rng.uniform(128 - 45 * strength - 15, 128 + 40 * strength + 10)
    gain = (target / max(mean, 8.0)) ** rng.uniform(0.35, 0.7)
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
    noise = np.empty(picture.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    cv2.randn(noise, 0, sigma)
    return np.clip(picture.astype(np.int16) + noise, 0, 255).astype(np.uint8)
