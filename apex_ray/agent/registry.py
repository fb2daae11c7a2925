"""Agents, objectives, torsos, memories and heads by name: a new one is a file and a line here.

A user's own are named 'package.module:name'.

They are named, not imported: settings are read, and replay runs, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from apex_ray.dotted import imported
from trainkit.errors import UserError, did_you_mean, place, with_kind

AGENTS = {
    "q_learning": "apex_ray.agent.q_learning:QLearning",
    "branching": "apex_ray.agent.branching:Branching",
    "recurrent": "apex_ray.agent.recurrent:Recurrent",
}
MEMORIES = {
    "lstm": "apex_ray.agent.lstm_memory:LstmMemory",
    "wavenet": "apex_ray.agent.wavenet_memory:WaveNetMemory",
}
OBJECTIVES = {
    "dqn": "apex_ray.agent.dqn:Dqn",
    "categorical": "apex_ray.agent.categorical:CategoricalDqn",
    "quantile": "apex_ray.agent.quantile:QuantileDqn",
    "implicit": "apex_ray.agent.implicit:ImplicitQuantiles",
}
TORSOS = {
    "conv": "apex_ray.agent.torsos:ConvTorso",
    "small_conv": "apex_ray.agent.torsos:SmallConvTorso",
    "mlp": "apex_ray.agent.torsos:MlpTorso",
    "impala": "apex_ray.agent.impala:ImpalaTorso",
}
# Called with (features, config.network, actions, outputs an action).
HEADS = {
    "plain": "apex_ray.agent.heads:PlainHead",
    "dueling": "apex_ray.agent.heads:DuelingHead",
}


class Kind(NamedTuple):
    """A kind of part."""

    key: str  # the setting that names it
    known: Mapping[str, str]
    given: str  # what it is called with
    has: tuple[str, ...]


AGENT = Kind(
    "agent",
    AGENTS,
    "(spec, config)",
    (
        *("fields", "outputs", "stride", "learned", "network", "initial_state", "infer", "next_state", "choose"),
        *("priorities", "loss"),
    ),
)
MEMORY = Kind("network.memory", MEMORIES, "(config.network.memory_kwargs)", ("stored", "state", "embedding", "module"))
OBJECTIVE = Kind("td.objective", OBJECTIVES, "(config)", ("outputs", "q_values", "loss"))
TORSO = Kind("network.torso", TORSOS, "(spec, config.network)", ("forward", "num_features"))


def made(kind: Kind, name: str, *given: Any) -> Any:
    """The part `name`, called with what its kind is `given`.

    UserError where `name` is nothing, and for a user's own that can't be called so, raises, or lacks what it must have.
    """
    call = named(kind.known, name, kind.key)
    if ":" not in name:
        return call(*given)
    expected = f"expected what is called with {kind.given} and has {', '.join(kind.has)}"
    try:
        part = call(*given)
        lacks = [attribute for attribute in kind.has if not hasattr(part, attribute)]
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        where = place(error, skipped=1)
        raise UserError(f"{kind.key} = {name!r} can't be made: {with_kind(error)}{where}; {expected}") from error
    if lacks:
        raise UserError(f"{kind.key} = {name!r} has no {', '.join(lacks)}; {expected}")
    return part


def named(known: Mapping[str, str], name: str, key: str) -> Any:
    """What `name`, the value of setting `key`, stands for. UserError, with the nearest name, where it is nothing."""
    if ":" in name:
        return imported(name, key)
    if name not in known:
        names = ", ".join(known)
        raise UserError(
            f"{key} = {name!r}: expected one of {names}, or your own as package.module:name.{did_you_mean(name, known)}"
        )
    return imported(known[name], key)
