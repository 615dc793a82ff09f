"""Training of CLIPSeg on parts, from a CLIPSeg or random weights."""
