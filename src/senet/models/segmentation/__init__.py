"""Networks from images to a class at every position."""
