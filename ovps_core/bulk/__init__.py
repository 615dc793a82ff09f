"""Bulk annotation: masks of a model for folders of pictures and recordings, on one machine or many."""
