"""Measuring engines honestly: interleaved, with agreement beside speed, and peers in the same run."""
