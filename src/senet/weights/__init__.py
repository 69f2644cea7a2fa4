"""Weights on disk: reading, checking and writing them."""
