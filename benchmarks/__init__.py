"""Timings that the project promises, measured interleaved: `python -m benchmarks.run --help`."""

from senet.measuring.machine import prepare_process

prepare_process()
