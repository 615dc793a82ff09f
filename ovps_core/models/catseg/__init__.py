"""CAT-Seg (Cho et al., CVPR 2024)."""
