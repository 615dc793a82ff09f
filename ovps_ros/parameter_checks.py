"""Checks of a parameter that is set: what the next configure would refuse is refused at once."""

from __future__ import annotations

from ovps_core.checkpoints.registry import DEFAULT_MODEL, check_model_name
from ovps_core.engines.calibration import calibration_paths
from ovps_core.engines.select import check_backend, check_precision, choose_device
from ovps_core.objects.object_sources import OWN
from ovps_core.ros_io.recorded import check_recorded, is_recorded
from ovps_ros.parameters import Settings


def check_for_configure(settings: Settings, before: Settings) -> None:
    """Check the values that a configure needs, each alone: others may be set before it.

    Args:
        settings: the new values.
        before: the values until now; what is equal is not checked.

    Raises:
        OvpsError: a value cannot be used here; the text is that of the configure.
    """
    if settings.model != before.model:
        check = check_recorded if is_recorded(settings.model) else check_model_name
        check(settings.model or DEFAULT_MODEL)
    if settings.object_source not in ("", OWN, before.object_source):
        check_model_name(settings.object_source)
    if settings.backend != before.backend:
        check_backend(settings.backend)
    if settings.device not in ("auto", before.device):
        choose_device(settings.device)
    if settings.precision != before.precision:
        check_precision(settings.precision)
    if settings.calibration not in ("", before.calibration):
        calibration_paths(settings.calibration)
