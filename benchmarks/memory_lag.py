"""How much the last step's Q-values depend on what was seen so many steps before, before training: gradients by lag.

    python -m benchmarks.memory_lag results/memory

The networks of the preset `tmaze` with either memory, on observations drawn at random; norms of the gradient of the sum
of the last Q-values by the observation at each lag, relative to lag 0, means of ROWS sequences and SEEDS networks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from apex_ray import load_config
from apex_ray.agent.build import build_agent
from apex_ray.agent.network import new_network
from apex_ray.agent.recurrent import Recurrent
from apex_ray.envs.make import probe
from apex_ray.types import LAST_ACTION, LAST_REWARD, AnyArray
from benchmarks.machine import write

STEPS, ROWS, SEEDS = 128, 64, 5
LAGS = (1, 5, 10, 20, 50, 63, 64, 100)


def norms(memory: str, settings: list[str], seed: int) -> AnyArray:
    """[STEPS], lag 0 first."""
    config = load_config("tmaze", [f"network.memory={memory}", *settings]).config
    spec = probe(config.env)
    agent = build_agent(config, spec)
    assert isinstance(agent, Recurrent)
    network, rng = new_network(agent, seed=seed), torch.Generator().manual_seed(seed)
    seen = {
        name: torch.randn((ROWS, STEPS, leaf.stack, *leaf.shape), generator=rng, requires_grad=True)
        for name, leaf in spec.seen.items()
    }
    last = {
        LAST_ACTION: torch.randint(0, spec.num_actions, (ROWS, STEPS, 1), generator=rng),
        LAST_REWARD: torch.zeros(ROWS, STEPS),
    }
    state = {name: torch.from_numpy(part) for name, part in agent.initial_state(ROWS).items()}
    first = torch.zeros(ROWS, STEPS, dtype=torch.bool)
    network({**seen, **last}, state, first, 0)[:, -1].sum().backward()
    squares = sum(part.grad.square().flatten(2).sum(2) for part in seen.values() if part.grad is not None)
    found: AnyArray = torch.as_tensor(squares).sqrt().mean(0).flip(0).numpy()
    return found / found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    words = parser.parse_args()
    kinds = {
        "lstm": ("lstm", []),
        "wavenet": ("wavenet", []),
        "wavenet, 7 layers": ("wavenet", ["network.memory_kwargs={layers_per_cycle: 7}"]),
    }
    found = {
        name: np.mean([norms(memory, settings, seed) for seed in range(SEEDS)], axis=0)
        for name, (memory, settings) in kinds.items()
    }
    figure, axis = plt.subplots(figsize=(6, 3.5))
    for name, values in found.items():
        axis.semilogy(np.where(values > 0, values, np.nan), label=name)
        print(f"{name:20}" + "".join(f"{values[lag]:>10.1e}" for lag in LAGS))
    axis.set(xlabel="steps back", ylabel="gradient, relative to now")
    axis.grid(True, color="#dddddd", linewidth=0.6)
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(words.folder / "lag.png", dpi=120)
    write(
        words.folder / "lag.json", {name: {lag: float(values[lag]) for lag in LAGS} for name, values in found.items()}
    )


if __name__ == "__main__":
    main()
