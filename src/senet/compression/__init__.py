"""Smaller networks: what goes, what that costs, and the network without it."""
