"""What a run asks of a cluster, for `apex-cluster plan apex-wavenet PRESET ...`."""

from cluster.room import planner
from wavenet.config import PRESETS

plan = planner(PRESETS, "folder workers.count=4")
