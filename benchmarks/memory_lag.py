"""How much the Q-values at the end of a walk depend on what was seen so many steps before: gradients by lag.

    python -m benchmarks.memory_lag results/memory

Walks from the start of the long T-maze to its junction, 100 steps east, with either sign. Norms of the gradient of the
sum of the junction's Q-values by the observation at each lag, relative to lag 0: means of SEEDS new networks, and the
best weights of one run of the suite `memory`, which has learned to turn as the sign at lag 100 says.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from apex_ray import train
from apex_ray.agent.build import build_agent
from apex_ray.agent.network import from_arrays, new_network
from apex_ray.agent.recurrent import Recurrent
from apex_ray.config.load import load
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.make import probe
from apex_ray.envs.memory_tasks import TMaze
from apex_ray.learner.checkpoint import load_policy_weights
from apex_ray.types import LAST_ACTION, LAST_REWARD, AnyArray
from benchmarks.machine import write
from benchmarks.suites import MEMORY

GAME, EAST, SEEDS = "tmaze_100", 1, 5
LAGS = (1, 5, 10, 20, 50, 64, 100)


def config_of(memory: str, *more: str) -> ApexConfig:
    words = [*MEMORY.games[GAME], *MEMORY.settings[memory], *MEMORY.extra.get((GAME, memory), ()), *more]
    return load(words[0], words[1:]).config


def walks(length: int) -> AnyArray:
    """Observations [2, length + 1, 3] of who only goes east: one with either sign."""
    found: dict[bytes, list[AnyArray]] = {}
    maze = TMaze(length)
    for seed in range(100):
        seen = [maze.reset(seed=seed)[0], *(maze.step(EAST)[0] for _ in range(length))]
        found[seen[0].tobytes()] = seen
    return np.stack([np.stack(seen) for seen in found.values()])


def norms(config: ApexConfig, network: nn.Module) -> AnyArray:
    """[length + 1], lag 0 first."""
    agent = build_agent(config, probe(config.env))
    assert isinstance(agent, Recurrent)
    (name,) = probe(config.env).seen
    observed = torch.from_numpy(walks(int(config.env.kwargs["length"])))
    rows, steps, _ = observed.shape
    observed = observed[:, :, None].requires_grad_()  # a stack of one
    actions = torch.full((rows, steps, 1), EAST)
    actions[:, 0] = -1  # none before an episode's first step
    seen = {name: observed, LAST_ACTION: actions, LAST_REWARD: torch.zeros(rows, steps)}
    state = {part: torch.from_numpy(array) for part, array in agent.initial_state(rows).items()}
    first = torch.zeros(rows, steps, dtype=torch.bool)
    first[:, 0] = True
    network(seen, state, first, 0)[:, -1].sum().backward()
    assert observed.grad is not None
    found: AnyArray = observed.grad.flatten(2).norm(dim=2).mean(dim=0).flip(0).numpy()
    return found / found[0]


def new(memory: str) -> AnyArray:
    config = config_of(memory)
    agent = build_agent(config, probe(config.env))
    means: AnyArray = np.mean([norms(config, new_network(agent, seed=seed)) for seed in range(SEEDS)], axis=0)
    return means


def trained(memory: str) -> AnyArray:
    """Of the best weights of a run that ends when it has solved the maze."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(
            memory, f"runs_dir={folder}", f"stop.after_s={60 * MEMORY.minutes}", "evaluation.video=false"
        )
        params, _ = load_policy_weights(train(config).run, "best")
    network = new_network(build_agent(config, probe(config.env)))
    from_arrays(network, params)
    return norms(config, network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    words = parser.parse_args()
    figure, axis = plt.subplots(figsize=(6, 3.5))
    figures = {}
    for number, memory in enumerate(("lstm", "wavenet")):
        for name, values in ((memory, new(memory)), (f"{memory}, trained", trained(memory))):
            style = "-" if "trained" in name else ":"
            axis.semilogy(np.where(values > 0, values, np.nan), style, color=f"C{number}", label=name)
            print(f"{name:20}" + "".join(f"{values[lag]:>10.1e}" for lag in LAGS))
            figures[name] = {lag: float(values[lag]) for lag in LAGS}
    axis.set(xlabel="steps back", ylabel="gradient, relative to now")
    axis.grid(True, color="#dddddd", linewidth=0.6)
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(words.folder / "lag.png", dpi=120)
    write(words.folder / "lag.json", figures)


if __name__ == "__main__":
    main()
