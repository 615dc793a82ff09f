"""Conversion of other projects' weights into our file format."""
