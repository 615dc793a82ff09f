"""Camera effects on a rendered picture: exposure, white balance, blur, sensor noise, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

INDOOR_CAMERA = 0.3
"""Strength of the effects of a good camera in a lit room."""


def simulate_camera(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Tone-map a rendered picture, blur it slightly, and add sensor noise.

    Args:
        rgb: uint8 [H, W, 3].
        rng: draws the size of each effect.
        strength: from 0 (no defects) to 1 (a poor camera).

    Returns:
        uint8 [H, W, 3].
    """
    picture = tone_map(rgb, rng, strength)
    if rng.random() < 0.3 + 0.3 * strength:
        sigma = rng.uniform(0.3, 0.5 + 0.9 * strength)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.uint8)
    return apply_sensor_noise(picture, rng, strength)


def tone_map(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Apply exposure, white balance and gamma to uint8 [H, W, 3]; ``strength`` is 0 to 1."""
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
    return np.asarray(cv2.LUT(rgb, table), dtype=np.uint8)


def apply_sensor_noise(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Add normal noise to uint8 [H, W, 3]; ``strength`` is 0 to 1."""
    sigma = rng.uniform(0.5, 2.0 + 10.0 * strength)
    # OpenCV draws normals ten times faster than NumPy. The array has one channel, because OpenCV
    # reads a scalar deviation as (sigma, 0, 0) for an array of three channels.
    noise = np.empty((rgb.shape[0], rgb.shape[1] * 3), np.int16)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    cv2.randn(noise, np.zeros(1), np.full(1, sigma))
    noisy = rgb.astype(np.int16) + noise.reshape(rgb.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def simulate_poor_camera(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Degrade uint8 [H, W, 3] as a poor camera does: motion blur, low resolution, noise, JPEG."""
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
    rgb = simulate_camera(np.ascontiguousarray(rgb), rng, rng.uniform(0.3, 1.0))
    if rng.random() < 0.4:
        _, code = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 92))])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return rgb
