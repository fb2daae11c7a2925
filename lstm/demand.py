"""What a run asks of a cluster, for `apex-cluster plan apex-lstm PRESET ...`."""

from cluster.room import planner
from lstm.config import PRESETS

plan = planner(PRESETS, "text workers.count=4")
