"""Preprocessing on a CUDA device: upload from pinned memory, then resize and normalise in one kernel."""

from __future__ import annotations

import functools
import importlib.util
import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.models.interface import Preprocessing

# Buffers per thread, one for each image shape: more than a robot has kinds of cameras.
_MAX_PINNED = 8
_local = threading.local()
log = logging.getLogger(__name__)


def to_batch_cuda(
    images: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """:func:`to_pixels_cuda` of several images of any sizes: float32 [B, 3, h, w]."""
    if len(images) == 1:
        return to_pixels_cuda(images[0], preprocessing, device)
    batch = torch.empty(len(images), 3, *preprocessing.size, device=device)
    for row, image in enumerate(images):
        batch[row] = to_pixels_cuda(image, preprocessing, device)[0]
    return batch


def to_pixels_cuda(
    image: NDArray[np.uint8], preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """RGB uint8 [H, W, 3] on the host -> normalised pixels float32 [1, 3, h, w] on ``device``.

    Only the bytes of the image cross the bus, and the host does not wait for the GPU.
    """
    return resize_and_normalise(_upload(image, device), preprocessing)


def resize_and_normalise(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """RGB uint8 [H, W, 3] -> normalised pixels float32 [1, 3, h, w] on the same device.

    The filter is antialiased bilinear, as in training, but without rounding to 8 bits between the two directions.
    It is one Triton kernel if Triton is installed, else three kernels of PyTorch.
    """
    if image.is_cuda and _triton_works():
        with torch.cuda.device(image.device):  # Triton launches on the current device
            return _with_triton(image, preprocessing)
    return _with_torch(image, preprocessing)


@functools.cache
def _triton_works() -> bool:
    """Return whether a kernel can be built: Triton comes with PyTorch, but the C compiler it needs does not."""
    if not importlib.util.find_spec("triton"):
        return False
    smallest = torch.zeros(1, 1, 3, dtype=torch.uint8, device="cuda")
    try:
        _with_triton(smallest, Preprocessing(size=(1, 1)))
    except Exception as error:  # the compiler raises errors of every kind
        reason = str(error).strip().partition("\n")[0]
        log.warning("Triton cannot build its kernel, so PyTorch resizes the images: %s", reason)
        return False
    return True


def _with_torch(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    pixels = image.permute(2, 0, 1).unsqueeze(0).float()
    if tuple(pixels.shape[-2:]) != preprocessing.size:
        pixels = F.interpolate(pixels, size=preprocessing.size, mode="bilinear", antialias=True)
    mean, std = (
        _row(values, image.device).view(3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return (pixels - mean) / std


@functools.lru_cache(16)
def _row(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device) * 255


def _with_triton(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    height, width = preprocessing.size
    out = torch.empty(1, 3, height, width, device=image.device)
    scales = image.shape[0] / height, image.shape[1] / width
    taps = [2 * _ceil(max(scale, 1.0)) + 1 for scale in scales]
    kernel, block = _kernel(), 256
    grid = ((height * width + block - 1) // block,)
    kernel[grid](
        image.contiguous(),
        out,
        *image.shape[:2],
        height,
        width,
        *scales,
        *(value * 255 for value in preprocessing.mean),
        *(1 / (value * 255) for value in preprocessing.std),
        ROWS=taps[0],
        COLUMNS=taps[1],
        BLOCK=block,
    )
    return out


def _ceil(value: float) -> int:
    return int(-(-value // 1))


@functools.cache
def _kernel() -> Any:
    """The kernel: a program per block of output pixels, a triangle filter over the input that a pixel covers."""
    import triton
    import triton.language as tl

    @triton.jit  # type: ignore[untyped-decorator]
    def resize_normalise(  # type: ignore[no-untyped-def]
        image,
        out,
        in_height,
        in_width,
        height,
        width,
        scale_y,
        scale_x,
        mean_r,
        mean_g,
        mean_b,
        inverse_r,
        inverse_g,
        inverse_b,
        ROWS: tl.constexpr,  # noqa: N803
        COLUMNS: tl.constexpr,  # noqa: N803
        BLOCK: tl.constexpr,  # noqa: N803
    ):
        place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = place < height * width
        centre_y = ((place // width).to(tl.float32) + 0.5) * scale_y
        centre_x = ((place % width).to(tl.float32) + 0.5) * scale_x
        reach_y = tl.maximum(scale_y, 1.0)
        reach_x = tl.maximum(scale_x, 1.0)
        first_y = tl.floor(centre_y - reach_y + 0.5).to(tl.int32)
        first_x = tl.floor(centre_x - reach_x + 0.5).to(tl.int32)
        red = tl.zeros([BLOCK], tl.float32)
        green = tl.zeros([BLOCK], tl.float32)
        blue = tl.zeros([BLOCK], tl.float32)
        total = tl.zeros([BLOCK], tl.float32)
        for dy in range(ROWS):
            y = first_y + dy
            weight_y = 1.0 - tl.abs(y.to(tl.float32) + 0.5 - centre_y) / reach_y
            weight_y = tl.where((y >= 0) & (y < in_height), tl.maximum(weight_y, 0.0), 0.0)
            for dx in range(COLUMNS):
                x = first_x + dx
                weight = 1.0 - tl.abs(x.to(tl.float32) + 0.5 - centre_x) / reach_x
                weight = weight_y * tl.where(
                    (x >= 0) & (x < in_width), tl.maximum(weight, 0.0), 0.0
                )
                at = image + (y * in_width + x) * 3
                needed = inside & (weight > 0.0)
                red += weight * tl.load(at, mask=needed, other=0).to(tl.float32)
                green += weight * tl.load(at + 1, mask=needed, other=0).to(tl.float32)
                blue += weight * tl.load(at + 2, mask=needed, other=0).to(tl.float32)
                total += weight
        plane = height * width
        tl.store(out + place, (red / total - mean_r) * inverse_r, mask=inside)
        tl.store(out + plane + place, (green / total - mean_g) * inverse_g, mask=inside)
        tl.store(out + 2 * plane + place, (blue / total - mean_b) * inverse_b, mask=inside)

    return resize_normalise


def _upload(image: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Copy an image through pinned memory of this thread, so that the copy runs beside the host's work."""
    pinned: dict[Any, tuple[Tensor, torch.cuda.Event]] = _local.__dict__.setdefault("pinned", {})
    key = image.shape, device  # an event belongs to the device it was first recorded on
    if key not in pinned:
        if len(pinned) == _MAX_PINNED:
            pinned.pop(next(iter(pinned)))
        buffer = torch.empty(image.shape, dtype=torch.uint8, pin_memory=True)
        pinned[key] = buffer, torch.cuda.Event()
    buffer, free = pinned[key]
    free.synchronize()  # waits only if the buffer is still being copied: several images in one frame
    np.copyto(buffer.numpy(), image)
    with torch.cuda.device(device):
        uploaded = buffer.to(device, non_blocking=True)
        free.record()
    return uploaded
