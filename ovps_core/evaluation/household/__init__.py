"""Real pictures with part masks, which come with the package: photographs and frames of a depth camera.

Sources and licences are in ``CREDITS.md``.
"""

from pathlib import Path

HOUSEHOLD = Path(__file__).parent
"""Folder that :class:`ovps_core.datasets.coco_folder.CocoFolder` reads."""
