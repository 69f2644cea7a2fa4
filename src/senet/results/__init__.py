"""What runs and comparisons came to, as frozen data: read, written, summed up."""
