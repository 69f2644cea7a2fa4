"""Plain networks against recalibrated ones, by engine: time and memory, measured interleaved on the machine at hand."""
