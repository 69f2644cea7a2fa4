"""What SE costs on a GPU, in one call of at most eight minutes: `python -m benchmarks.gpu --help`."""
