"""Text-prompted segmenters of Hugging Face transformers behind our interface."""
