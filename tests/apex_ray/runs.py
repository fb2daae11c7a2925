"""Small configurations that tests of whole runs share."""

import json

import numpy as np

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.make import probe
from apex_ray.learner.checkpoint import save_best, save_checkpoint
from apex_ray.learner.learner import Learner
from apex_ray.types import Counters
from trainkit.config import to_yaml
from trainkit.runs import create_run


def cartpole(**sections):
    """CartPole small enough that a test of a whole run takes seconds; sections override these."""
    base = {
        "env": {"id": "CartPole-v1", "frame_stack": 1},
        "td": {"reward_clip": None},
        "network": {"mlp_layers": [16], "hidden": 16},
        "actors": {"count": 2, "envs_per_actor": 3, "chunk_transitions": 10, "weights_every_steps": 5},
        "replay": {"capacity_transitions": 4_000, "min_transitions": 200, "samples_per_insert": 4.0},
        "learner": {
            "batch_size": 16,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "target_every_updates": 20,
            "publish_every_updates": 5,
            "threads": 1,
            "device": "cpu",
        },
        "evaluation": {"every_s": 1000.0, "episodes": 2, "envs": 2, "video": False},
        "report": {"every_s": 0.5},
    }
    merged = {k: {**v, **sections.pop(k, {})} for k, v in base.items()}
    return ApexConfig(**merged, **sections)


def remembers(memory):
    """Sections of a configuration whose network has a memory, in chunks of two sequences."""
    sequences = {"burn_in_steps": 5, "length_steps": 10, "period_steps": 5}
    return {"sequences": sequences, "network": {"memory": memory}} if memory != "none" else {}


def saved(tmp_path, config):
    """A run folder with untrained weights, and its learner."""
    run = create_run(tmp_path, config.name, to_yaml(config))
    learner = Learner(build_agent(config, probe(config.env)), config)
    save_checkpoint(run, Counters(updates=10), *learner.state(), keep=2)
    save_best(run, Counters(updates=10), learner.state()[0])
    return run, learner


def assert_same_batch(a, b):
    """Every array of two batches is equal."""
    assert a.fields.keys() == b.fields.keys()
    for name in a.fields:
        np.testing.assert_array_equal(a.fields[name], b.fields[name], err_msg=name)
    for name in ("weights", "slots", "overwrites"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def new_run(tmp_path, config):
    return create_run(tmp_path, config.name, to_yaml(config))


def rows_of(run):
    """The metric rows so far, without one that is being written."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
