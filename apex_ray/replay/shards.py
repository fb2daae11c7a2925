"""Several replays sampled as one: shards drawn in proportion to their mass, weights from the global sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apex_ray.replay.records import Sample
from apex_ray.td import importance_weights
from apex_ray.types import SHARD_STRIDE, AnyArray, Batch, Float64Array, IntArray, PriorityUpdate


def allocate(batch_size: int, masses: Sequence[float], rng: np.random.Generator) -> list[int]:
    """How many of a batch's samples each shard gives: multinomial by mass, so the draws stay independent.

    None from any while all masses are 0.
    """
    shares = np.asarray(masses, np.float64)
    total = float(shares.sum())
    counts: list[int] = rng.multinomial(batch_size, shares / total).tolist() if total else [0] * len(shares)
    return counts


def merge(samples: Sequence[tuple[int, float, Sample]], joined: Mapping[str, AnyArray] | None = None) -> Batch:
    """One batch of samples from shards.

    Args:
        samples: (shard, probability with which that shard was chosen, its sample) of every shard drawn from.
        joined: fields [B, ...] of all samples in this order that are joined already.

    P(i) is the shard's probability times i's share of that shard's mass: exact even when the masses that the shards
    were chosen by are a little out of date.

    """
    joined = joined or {}
    probability = _join([share * s.masses / s.total_mass for _, share, s in samples])
    names = [name for name in samples[0][2].fields if name not in joined]
    return Batch(
        fields={**joined, **{name: _join([s.fields[name] for _, _, s in samples]) for name in names}},
        weights=importance_weights(probability),
        slots=_join([shard * SHARD_STRIDE + s.slots for shard, _, s in samples]),
        overwrites=_join([s.overwrites for _, _, s in samples]),
        rarest=float(probability.min()),
    )


def _join(arrays: list[Any]) -> Any:
    """Concatenated, without a copy when there is one alone."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def split(slots: IntArray, overwrites: IntArray, priorities: Float64Array) -> dict[int, PriorityUpdate]:
    """A batch's new priorities by the shard they belong to, with that shard's own slots."""
    shards = slots // SHARD_STRIDE
    updates = {}
    for shard in np.unique(shards):
        mine = shards == shard
        updates[int(shard)] = PriorityUpdate(slots[mine] % SHARD_STRIDE, overwrites[mine], priorities[mine])
    return updates
