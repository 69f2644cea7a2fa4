"""What a network costs and how long it takes, part by part and against its plain twin."""

from senet.profiling.measure import profile as profile
from senet.profiling.result import Profile as Profile, Row as Row
