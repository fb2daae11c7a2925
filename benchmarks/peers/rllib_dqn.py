"""RLlib's DQN as a whole for SECONDS: python rllib_dqn.py SECONDS BATCH tuned|defaults

Prints environment steps and updates a second of the second half, when learning has started and replay is in use.
"""

import json
import sys
import time

import ray
from rllib_config import dqn_config

SECONDS, BATCH, TUNED = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "tuned"


def counts(result):
    learner = result.get("learners", {}).get("default_policy", {})
    return (
        float(result["env_runners"].get("num_env_steps_sampled_lifetime", 0)),
        float(learner.get("num_module_steps_trained_lifetime", 0)) / BATCH,
    )


ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
algorithm = dqn_config(runners=2, batch=BATCH, tuned=TUNED).build_algo()
module = algorithm.get_module()
parameters = sum(p.numel() for name, p in module.named_parameters() if "target" not in name)
started = time.monotonic()
rows = []
while time.monotonic() - started < SECONDS:
    result = algorithm.train()
    rows.append((time.monotonic() - started, *counts(result)))
half = next(r for r in rows if r[0] >= SECONDS / 2 or r is rows[-1])
last = rows[-1]
if last is half:
    half = rows[0]
elapsed = last[0] - half[0]
print(
    json.dumps(
        {
            "env steps/s": (last[1] - half[1]) / elapsed,
            "updates/s": (last[2] - half[2]) / elapsed,
            "parameters": parameters,
            "seconds measured": elapsed,
        }
    )
)
