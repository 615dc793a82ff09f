"""Training of PartCLIPSeg, from a CLIPSeg, a PartCLIPSeg or random weights."""
