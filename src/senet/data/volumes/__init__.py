"""Volumes in NIfTI files: read, laid out in a plane's orientation, cut into slices or patches, and written back."""
