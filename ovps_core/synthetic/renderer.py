"""MuJoCo offscreen pictures of a bank: RGB, metric depth and the geom under every pixel."""

from __future__ import annotations

import atexit
import importlib
import os
from typing import Any

import numpy as np

from ovps_core.errors import BackendError
from ovps_core.synthetic.bank import FAR, HIDDEN_GROUP, NEAR, ObjectPool

_HOW_TO = (
    "Rendering needs one of Debian's packages libosmesa6 (software) or libegl1 (GPU or Mesa): "
    "`apt-get install libosmesa6`, and MUJOCO_GL=osmesa or MUJOCO_GL=egl chooses between them."
)
_context: dict[tuple[int, int, int], Any] = {}


def choose_backend() -> str:
    """The user's MUJOCO_GL ("egl" or "osmesa"), else whichever of the two is installed.

    Raises:
        BackendError: neither library is on this machine, or MUJOCO_GL names something else.
    """
    import ctypes.util

    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen in ("egl", "osmesa"):
        return chosen
    if chosen:
        raise BackendError(f"MUJOCO_GL={chosen!r} draws in a window. {_HOW_TO}")
    for name, library in (("osmesa", "OSMesa"), ("egl", "EGL")):
        if ctypes.util.find_library(library):
            return name
    raise BackendError(f"No off-screen OpenGL library was found. {_HOW_TO}")


def _gl_context(width: int, height: int) -> Any:
    """The process's OpenGL context for this size; made once, because making one is slow."""
    key = (os.getpid(), width, height)
    if key not in _context:
        backend = choose_backend()
        try:
            # By module, because mujoco's own choice is made once, when it is first imported.
            os.environ.setdefault("PYOPENGL_PLATFORM", backend)
            module = importlib.import_module(f"mujoco.{backend}")
            _context[key] = module.GLContext(width, height)
            # OSMesa's own clean-up at interpreter exit comes too late to find its library.
            atexit.register(_context[key].free)
        except Exception as error:
            raise BackendError(f"Off-screen OpenGL could not start ({error}). {_HOW_TO}") from error
    return _context[key]


class Renderer:
    """Draws the present state of one bank from its camera "eye".

    Close it before the next bank is drawn; the OpenGL context itself is kept.
    """

    def __init__(self, bank: ObjectPool, width: int, height: int) -> None:
        self._gl = _gl_context(width, height)
        self._gl.make_current()
        import mujoco

        self._mujoco = mujoco
        self._bank = bank
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(bank.model, maxgeom=bank.model.ngeom + 50)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 1
        self._option.geomgroup[HIDDEN_GROUP] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0
        self._context = mujoco.MjrContext(bank.model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._rgb = np.empty((height, width, 3), np.uint8)
        self._ids = np.empty((height, width, 3), np.uint8)
        self._depth = np.empty((height, width), np.float32)

    def update(self) -> None:
        """Take over poses, colours and lights from the bank's model and data."""
        m = self._mujoco
        model, data = self._bank.model, self._bank.data
        self._gl.make_current()
        m.mj_kinematics(model, data)
        m.mj_comPos(model, data)
        m.mj_camlight(model, data)
        m.mjv_updateScene(
            model, data, self._option, None, self._camera, m.mjtCatBit.mjCAT_ALL.value, self._scene
        )

    def rgb(self) -> np.ndarray:
        """The picture, uint8 [H, W, 3]."""
        self._flag_segmentation(False)
        self._mujoco.mjr_render(self._rect, self._scene, self._context)
        self._mujoco.mjr_readPixels(self._rgb, None, self._rect, self._context)
        return self._rgb[::-1].copy()

    def geoms(self, depth: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Geom ids int32 [H, W] (-1 where nothing is) and, when asked, depth float32 [H, W].

        Depth is metres along the optical axis, 0 where nothing is.
        """
        m = self._mujoco
        self._flag_segmentation(True)
        m.mjr_render(self._rect, self._scene, self._context)
        m.mjr_readPixels(self._ids, self._depth if depth else None, self._rect, self._context)
        drawn = self._scene.geoms[: self._scene.ngeom]
        table = np.full(len(drawn) + 1, -1, np.int32)
        for geom in drawn:
            if geom.segid >= 0 and geom.objtype == 5:  # 5 is a geom; the enum object is far slower
                table[geom.segid + 1] = geom.objid
        index = self._ids[..., 0].astype(np.int32) + (self._ids[..., 1].astype(np.int32) << 8)
        geoms = table[np.minimum(index, len(drawn))][::-1]
        if not depth:
            return geoms, None
        # Reversed-z perspective: buffer 1 at the near plane, 0 at the far one.
        metres = NEAR * FAR / (NEAR + self._depth[::-1].astype(np.float64) * (FAR - NEAR))
        metres[geoms < 0] = 0.0
        return geoms, metres.astype(np.float32)

    def _flag_segmentation(self, on: bool) -> None:
        flags = self._mujoco.mjtRndFlag
        self._scene.flags[flags.mjRND_SEGMENT] = on
        self._scene.flags[flags.mjRND_IDCOLOR] = on

    def close(self) -> None:
        """Free what the bank holds in OpenGL."""
        self._gl.make_current()
        self._context.free()
