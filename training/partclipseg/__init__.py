"""Training of CLIPSeg and PartCLIPSeg."""
