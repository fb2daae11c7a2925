"""Small configurations that tests of whole runs share."""

import numpy as np

from apex_ray.config.schema import ApexConfig


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


def assert_same_batch(a, b):
    """Every array of two batches is equal."""
    assert a.fields.keys() == b.fields.keys()
    for name in a.fields:
        np.testing.assert_array_equal(a.fields[name], b.fields[name], err_msg=name)
    for name in ("weights", "slots", "generations"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
