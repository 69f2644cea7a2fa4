"""What SE costs on a GPU, in one call of as many minutes as there are: `python -m benchmarks.gpu --help`."""
