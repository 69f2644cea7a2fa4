"""Plain against recalibrated on a user's own data: runs, statistics over seeds, costs and excitations."""

from senet.comparison.run import compare as compare
