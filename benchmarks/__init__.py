"""Timings that the project promises, measured interleaved: `python -m benchmarks.run --help`."""

import os

# Threads that wait must sleep: spinning would count as process-CPU time. Read by OpenMP when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
