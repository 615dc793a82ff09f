"""Speed of engines: interleaved measurements with mask agreement, and a comparison with Hugging Face's CLIPSeg."""
