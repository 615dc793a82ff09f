"""Phrases to queries: parser, lexicon, word resolver and benchmark vocabularies."""
