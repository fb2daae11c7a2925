"""The agent that a configuration names."""

from __future__ import annotations

from apex_ray.agent.contract import Agent
from apex_ray.agent.registry import AGENT, made
from apex_ray.config.schema import ApexConfig
from apex_ray.types import EnvSpec


def build_agent(config: ApexConfig, spec: EnvSpec) -> Agent:
    """UserError where `agent` names nothing, or what is no agent. Needs no torch until a network is asked for."""
    name = config.agent
    if name == "q_learning":
        remembers = config.network.memory != "none"
        name = "recurrent" if remembers else "branching" if len(spec.branches) > 1 else name
    agent: Agent = made(AGENT, name, spec, config)
    return agent
