"""Recipes that train the networks of ``ovps_core``; nothing in ``ovps_core`` needs this package."""
