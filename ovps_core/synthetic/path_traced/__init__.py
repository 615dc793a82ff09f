"""Path-traced scenes of tabletops and rooms, drawn by Blender's Cycles: a second look beside MuJoCo's."""
