"""Stages around the network: preprocessing, postprocessing, tracking, pose, drawing."""
