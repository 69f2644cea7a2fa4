"""What profiling, benchmarking and comparison measure with: clocks, machines, counts and how numbers read."""
