"""PartCLIPSeg (Choi et al., NeurIPS 2024)."""
