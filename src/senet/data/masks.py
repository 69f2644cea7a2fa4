"""Masks: the class of every pixel, (H, W) uint8."""

IGNORE = 255
"""Class index of the pixels in which nothing is to be learnt or judged."""
