"""ROS 2 nodes for open-vocabulary part segmentation: messages in and out, nothing else."""

from pkgutil import extend_path

__path__ = extend_path(
    __path__, __name__
)  # msg/, srv/ and action/ are generated into the install tree
