"""Agents, objectives, torsos, memories and heads by name: a new one is a file and a line here.

A user's own are named 'package.module:name'.

They are named, not imported: settings are read, and replay runs, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apex_ray.dotted import imported
from trainkit.errors import UserError, did_you_mean

# Called with (spec, config).
AGENTS = {
    "q_learning": "apex_ray.agent.q_learning:QLearning",
    "branching": "apex_ray.agent.branching:Branching",
    "recurrent": "apex_ray.agent.recurrent:Recurrent",
}
# Called with (config.network.memory_kwargs).
MEMORIES = {
    "lstm": "apex_ray.agent.lstm_memory:LstmMemory",
    "wavenet": "apex_ray.agent.wavenet_memory:WaveNetMemory",
}
# Called with (config).
OBJECTIVES = {
    "dqn": "apex_ray.agent.dqn:Dqn",
    "categorical": "apex_ray.agent.categorical:CategoricalDqn",
    "quantile": "apex_ray.agent.quantile:QuantileDqn",
    "implicit": "apex_ray.agent.implicit:ImplicitQuantiles",
}
# Called with (spec, config.network).
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
