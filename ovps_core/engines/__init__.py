"""Inference engines behind one interface, :class:`ovps_core.engines.interface.Engine`."""

from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache
from ovps_core.engines.select import choose_device, make_engine

__all__ = ["DEFAULT_CACHE", "EngineCache", "choose_device", "make_engine"]
