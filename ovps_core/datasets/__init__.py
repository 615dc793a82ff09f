"""Readers of labelled data: published benchmarks and folders of photographs in COCO format."""
