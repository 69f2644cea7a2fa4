"""Networks for use: the inference form."""
