"""What a network costs and how long it takes, part by part and against its plain twin."""

from senet.profiling.profiler import profile as profile
from senet.profiling.result import PartRow as PartRow, Profile as Profile
