"""Seeds of environments: training, evaluations while training and evaluations afterwards never share one.

ALE takes 31 bits. Each purpose has a range of them to itself, and all seeds of a vector of environments, which are
consecutive, lie within it.
"""

from __future__ import annotations

import numpy as np

TRAINING = range(0, 2**30)
EVALUATION = range(2**30, 2**30 + 2**29)
AFTERWARDS = range(2**30 + 2**29, 2**31 - 1)


def first_seed(purpose: range, num_envs: int, *key: int) -> int:
    """The first of `num_envs` consecutive seeds, drawn from `purpose` by the numbers of `key`."""
    drawn = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return purpose.start + drawn % (len(purpose) - num_envs + 1)
