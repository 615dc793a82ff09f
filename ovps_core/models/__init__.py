"""Networks: PartCLIPSeg, CLIPSeg, and what they are made of."""
