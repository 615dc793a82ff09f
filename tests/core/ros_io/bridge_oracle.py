"""Conversions by Debian's cv_bridge, for test_cv_bridge.py; runs under Debian's own Python.

Reads a pickle of cases from stdin and writes one of results: for each case what cv_bridge gives for the message,
and what ``to_rgb`` gives where cv_bridge works.
"""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace

from cv_bridge import CvBridge, CvBridgeError

from ovps_core.ros_io.bridge import find_bridge
from ovps_core.ros_io.encodings import to_rgb


def converted(bridge: CvBridge, case: dict) -> object:
    """Result of cv_bridge itself; None where this release does not know the encoding.

    Debian's cv_bridge (1.16.2) never reads ``step``: it takes the first height * width pixels of the data, so
    padding would become pixels. It gets the rows without their padding, and ``to_rgb`` gets them as they are.
    """
    step, row = case["step"], case["row"]
    rows = (case["data"][start : start + row] for start in range(0, len(case["data"]), step))
    tight = {**case, "data": b"".join(rows), "step": row}
    try:
        return bridge.imgmsg_to_cv2(SimpleNamespace(**tight), "rgb8")
    except CvBridgeError:
        return None


def main() -> None:
    """Answer the cases."""
    bridge = CvBridge()
    state = find_bridge()
    results = [
        (
            converted(bridge, case),
            to_rgb(
                *(case[name] for name in ("data", "height", "width", "encoding", "step")),
                is_bigendian=bool(case["is_bigendian"]),
            ),
        )
        for case in pickle.load(sys.stdin.buffer)
    ]
    used = state.convert is not None, state.problem
    plain = [[None if a is None else (a.shape, a.tobytes()) for a in pair] for pair in results]
    sys.stdout.buffer.write(pickle.dumps((used, plain)))


if __name__ == "__main__":
    main()
