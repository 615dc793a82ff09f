"""Path-traced scenes of tabletops and rooms, rendered with Blender's Cycles."""
