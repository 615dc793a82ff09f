"""ROS messages and recordings, read and written without a ROS installation."""
