"""Postprocessing of logits into masks."""
