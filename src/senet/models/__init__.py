"""The networks of the papers: one file a family, one registry of names."""
