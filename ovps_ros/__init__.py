"""ROS 2 node for open-vocabulary part segmentation; the algorithms are in ovps_core."""

from pkgutil import extend_path

__path__ = extend_path(
    __path__, __name__
)  # msg/, srv/ and action/ are generated into the install tree
