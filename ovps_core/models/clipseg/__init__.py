"""CLIPSeg (Lüddecke and Ecker, CVPR 2022)."""
