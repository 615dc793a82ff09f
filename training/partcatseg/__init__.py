"""Training of PartCATSeg and CAT-Seg, from a CAT-Seg, a PartCATSeg or random weights."""
