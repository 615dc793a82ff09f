"""``python -m ovps_core`` is the command ``ovps``."""

import sys

from ovps_core.cli import main

sys.exit(main())
