"""What networks learn from and are measured on: vocabularies, benchmark readers, recorded and rendered data."""
