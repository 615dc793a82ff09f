"""Where pictures and labels come from: vocabularies, benchmark readers, recorded and rendered data."""
