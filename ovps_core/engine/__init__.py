"""Ways to run a network, all behind :class:`ovps_core.engine.base.Engine`."""

from ovps_core.engine.artefacts import DEFAULT_CACHE, EngineCache
from ovps_core.engine.select import make_engine

__all__ = ["DEFAULT_CACHE", "EngineCache", "make_engine"]
