"""Trained networks to where others find them."""
