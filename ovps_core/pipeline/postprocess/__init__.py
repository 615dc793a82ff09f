"""Logits to masks: connected components, instances, panoptic maps."""
