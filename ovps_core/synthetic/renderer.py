"""MuJoCo off-screen rendering of an object pool: RGB, metric depth, and the geom at every pixel."""

from __future__ import annotations

import atexit
import contextlib
import ctypes.util
import importlib
import os
from typing import Any

import numpy as np

from ovps_core.errors import BackendError
from ovps_core.synthetic.object_pool import FAR, HIDDEN_GROUP, NEAR, ObjectPool

INSTALL_HINT = (
    "Rendering needs one of Debian's packages libosmesa6 (software) or libegl1 (GPU or Mesa): "
    "`apt-get install libosmesa6`, and MUJOCO_GL=osmesa or MUJOCO_GL=egl chooses between them."
)


def choose_backend() -> str:
    """Return "egl" or "osmesa": the value of MUJOCO_GL, else the library that is installed.

    Raises:
        BackendError: neither library is on this machine, or MUJOCO_GL names another backend.
    """
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen in ("egl", "osmesa"):
        return chosen
    if chosen:
        raise BackendError(f"MUJOCO_GL={chosen!r} draws in a window. {INSTALL_HINT}")
    for name, library in (("osmesa", "OSMesa"), ("egl", "EGL")):
        if ctypes.util.find_library(library):
            return name
    raise BackendError(f"No off-screen OpenGL library was found. {INSTALL_HINT}")


class OffscreenContexts:
    """Owner of this process's off-screen OpenGL contexts, one per picture size.

    Creating a context is slow, so each is kept until the process ends. A context does not survive
    a fork; a forked child therefore gets contexts of its own.
    """

    def __init__(self) -> None:
        """Start without any context; :meth:`get` creates them."""
        self._contexts: dict[tuple[int, int, int], Any] = {}

    def get(self, width: int, height: int) -> Any:
        """Return the ``mujoco`` GLContext for pictures of this size in pixels.

        Raises:
            BackendError: off-screen OpenGL cannot start here.
        """
        key = (os.getpid(), width, height)
        if key not in self._contexts:
            self._contexts[key] = self._create(width, height)
        return self._contexts[key]

    def _create(self, width: int, height: int) -> Any:
        backend = choose_backend()
        _load_triton_first()
        try:
            # Import the backend's module itself: mujoco chooses only once, at its first import.
            os.environ.setdefault("PYOPENGL_PLATFORM", backend)
            context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        except Exception as error:
            raise BackendError(
                f"Off-screen OpenGL could not start ({error}). {INSTALL_HINT}"
            ) from error
        # OSMesa's own clean-up at interpreter exit runs too late to find its library.
        atexit.register(context.free)
        return context


def _load_triton_first() -> None:
    """Load the compiler of PyTorch before the drawing library.

    Both bring a copy of LLVM. In the other order the process ends with a segmentation fault when PyTorch
    loads Triton.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton._C.libtriton")


OFFSCREEN_CONTEXTS = OffscreenContexts()
"""The contexts that all renderers of this process share."""


class Renderer:
    """Renderer of one object pool from its camera.

    Close it before the next pool is rendered; the OpenGL context itself is kept.
    """

    def __init__(self, pool: ObjectPool, width: int, height: int) -> None:
        """Upload the pool's meshes and textures.

        Args:
            pool: the compiled model to draw.
            width: of the pictures, pixels.
            height: of the pictures, pixels.

        Raises:
            BackendError: off-screen OpenGL cannot start here.
        """
        self._gl = OFFSCREEN_CONTEXTS.get(width, height)
        self._gl.make_current()
        import mujoco

        self._mujoco = mujoco
        self._pool = pool
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(pool.model, maxgeom=pool.model.ngeom + 50)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 1
        self._option.geomgroup[HIDDEN_GROUP] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0
        self._context = mujoco.MjrContext(pool.model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._rgb = np.empty((height, width, 3), np.uint8)
        self._segment_ids = np.empty((height, width, 3), np.uint8)
        self._depth = np.empty((height, width), np.float32)

    def update(self) -> None:
        """Copy poses, colours and lights from the pool's model and data into the scene."""
        m = self._mujoco
        model, data = self._pool.model, self._pool.data
        self._gl.make_current()
        m.mj_kinematics(model, data)
        m.mj_comPos(model, data)
        m.mj_camlight(model, data)
        m.mjv_updateScene(
            model, data, self._option, None, self._camera, m.mjtCatBit.mjCAT_ALL.value, self._scene
        )

    def rgb(self) -> np.ndarray:
        """Render the picture, uint8 [H, W, 3]."""
        self._draw_segment_ids(False)
        self._mujoco.mjr_render(self._rect, self._scene, self._context)
        self._mujoco.mjr_readPixels(self._rgb, None, self._rect, self._context)
        return self._rgb[::-1].copy()

    def geom_ids(self) -> np.ndarray:
        """Render the geom id of every pixel, int32 [H, W]; -1 on empty pixels."""
        return self._render_geom_ids(None)

    def geom_ids_and_depth(self) -> tuple[np.ndarray, np.ndarray]:
        """Render :meth:`geom_ids` and depth float32 [H, W].

        Depth is in metres along the optical axis, 0 on empty pixels.
        """
        geoms = self._render_geom_ids(self._depth)
        # Reversed-z perspective: the buffer is 1 at the near plane and 0 at the far one.
        metres = NEAR * FAR / (NEAR + self._depth[::-1].astype(np.float64) * (FAR - NEAR))
        metres[geoms < 0] = 0.0
        return geoms, metres.astype(np.float32)

    def _render_geom_ids(self, depth: np.ndarray | None) -> np.ndarray:
        m = self._mujoco
        self._draw_segment_ids(True)
        m.mjr_render(self._rect, self._scene, self._context)
        m.mjr_readPixels(self._segment_ids, depth, self._rect, self._context)
        drawn = self._scene.geoms[: self._scene.ngeom]
        table = np.full(len(drawn) + 1, -1, np.int32)
        for geom in drawn:
            if geom.segid >= 0 and geom.objtype == 5:  # 5 is a geom; the enum object is far slower
                table[geom.segid + 1] = geom.objid
        low, high = (self._segment_ids[..., i].astype(np.int32) for i in range(2))
        return np.asarray(table[np.minimum(low + (high << 8), len(drawn))][::-1])

    def _draw_segment_ids(self, enabled: bool) -> None:
        flags = self._mujoco.mjtRndFlag
        self._scene.flags[flags.mjRND_SEGMENT] = enabled
        self._scene.flags[flags.mjRND_IDCOLOR] = enabled

    def close(self) -> None:
        """Free the pool's OpenGL objects."""
        self._gl.make_current()
        self._context.free()
