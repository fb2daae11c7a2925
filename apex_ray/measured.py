"""What the parts of a run were measured to do (measured.yaml says by what), or what its user knows instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, PositiveFloat

from trainkit.config import load_config
from trainkit.section import Section


class Measured(Section):
    """None: not measured, or not known."""

    actor_steps_per_s: PositiveFloat = Field(description="agent steps/s of one actor on one core")
    actor_two_groups_steps_per_s: PositiveFloat = Field(description="the same with actors.groups=2, on two")
    emulator_steps_per_s: PositiveFloat = Field(description="agent steps/s of an actor that infers centrally, at most")
    inference_steps_per_s: PositiveFloat = Field(
        description="agent steps/s that one core of a process that infers for actors serves"
    )
    actor_bytes: PositiveFloat = Field(description="memory of an actor")
    central_actor_bytes: PositiveFloat = Field(description="memory of one that infers centrally")
    insert_transitions_per_s: PositiveFloat = Field(description="that one shard stores, at most")
    sample_transitions_per_s: PositiveFloat = Field(description="that one shard samples for the learner, at most")
    pong_samples_per_s: PositiveFloat | None = Field(description="of a learner on a CPU with the network of pong")
    atari_samples_per_s: PositiveFloat | None = Field(description="the same with that of atari")
    samples_per_s: PositiveFloat | None = Field(None, description="of this run's learner, whatever it is")
    pong_weights_bytes: PositiveFloat = Field(description="of one version of the weights of pong")
    atari_weights_bytes: PositiveFloat = Field(description="the same of atari")
    weights_bytes: PositiveFloat | None = Field(None, description="of one version of this run's weights")
    shard_bytes_per_s: PositiveFloat | None = Field(description="of chunks into one shard, from other nodes, at most")
    weights_core_s: PositiveFloat | None = Field(description="of the weights holder, for a question")
    report_core_s: PositiveFloat | None = Field(description="of metrics, for an actor's report by itself")
    relayed_report_core_s: PositiveFloat | None = Field(description="of metrics, for an actor's report by a relay")
    relay_core_s: PositiveFloat | None = Field(description="of a relay, a second of one of its actors")
    link_gbit_per_s: PositiveFloat | None = Field(None, description="of each node's network, each way")
    dollars_per_gib_hour: PositiveFloat | None = Field(None, description="of memory")


def measured(given: Sequence[str] = ()) -> Measured:
    """With what is `given`, KEY=VALUE. UserError for a key that there is not."""
    return load_config(Measured, Path(__file__).parent, "measured", given).config
