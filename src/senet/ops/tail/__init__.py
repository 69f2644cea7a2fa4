"""The end of a residual unit in one operator."""
