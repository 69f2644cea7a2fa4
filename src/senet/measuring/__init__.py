"""What profiling, benchmarking and comparison measure with: steps, clocks, counts, machines, and how numbers read."""
