"""Plain values that every stage exchanges: queries, boxes, masks. NumPy only, no torch."""
