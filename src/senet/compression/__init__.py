"""Smaller networks: what gates say can go is taken out."""
