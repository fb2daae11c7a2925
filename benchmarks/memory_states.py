"""What a replayed sequence's first state is worth: its Q-values beside those of the whole episode.

    python -m benchmarks.memory_states results/memory [--updates 3000]

The diagnostic of Kapturowski et al. 2019 (section 3): after training, with the last weights, the Q-values of every
stored sequence from the state that the actor stored and from none, beside those with the network unrolled from the
episode's beginning: |q' - q| / |max q'|, by steps since the sequence's beginning, which is what a burn-in of so many
steps leaves. Sequences that begin with an episode, and steps after an episode's end, don't count: there all are equal.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from apex_ray import load_config, train
from apex_ray.agent.build import build_agent
from apex_ray.agent.recurrent import STORED, Recurrent
from apex_ray.config.load import load_run_config
from apex_ray.envs.make import probe
from apex_ray.learner.checkpoint import load_policy_weights
from apex_ray.replay.build import build_replay
from apex_ray.replay.snapshots import Snapshots, saved_shards
from apex_ray.td import RESET
from apex_ray.types import LAST_ACTION, AnyArray, IntArray
from benchmarks.machine import write

SETTINGS = [
    "mode=serial", "actors.count=1", "replay.capacity_transitions=400000", "checkpoint.replay=true",
    "evaluation.every_s=100000", "evaluation.final=false", "stop.evaluation_return=null",
]  # fmt: skip
COMPARED = {"lstm, stored state": ("lstm", True), "lstm, no state": ("lstm", False), "wavenet": ("wavenet", False)}


class Played:
    """A run's weights and everything that its replay holds: all that was played, by stream."""

    def __init__(self, memory: str, updates: int, folder: Path) -> None:
        settings = [*SETTINGS, f"network.memory={memory}", f"stop.after_updates={updates}", f"runs_dir={folder}"]
        run = train(load_config("cartpole_masked", settings).config).run
        config = load_run_config(run).config
        self.config, self._spec = config, probe(config.env)
        self.agent = self._agent()
        self.network = self.agent.network().eval()
        params = load_policy_weights(run, "latest")[0]
        self.network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in params.items()})
        replay = build_replay(config, self.agent.fields, self.agent.stride)
        Snapshots(saved_shards(run)[0], replay).load()
        assert replay.oldest == 0, "a larger replay.capacity_transitions holds all"
        self.segments = replay.read(0, replay.written)

    def _agent(self) -> Recurrent:
        agent = build_agent(self.config, self._spec)
        assert isinstance(agent, Recurrent)
        return agent

    def streams(self) -> dict[str, AnyArray]:
        """The batch that one sequence of each whole stream is: [E, steps, ...], and the state before the first."""
        horizon, envs = self.config.actors.chunk_transitions, self.config.actors.envs_per_actor
        whole = {}
        for name, array in self.segments.items():
            by_stream = array.reshape(-1, envs, *array.shape[1:]).swapaxes(0, 1)  # [E, chunks, ...]
            if self.agent.fields.get(name) is not None and self.agent.fields[name].windowed:
                steps = by_stream[:, :, :horizon]
                whole[name] = steps.reshape(envs, -1, *steps.shape[3:])
            else:
                whole[name] = by_stream[:, 0, 0]
        for name in ("actions", "rewards", "kinds"):
            whole[name] = whole[name][:, :-1]
        return whole

    def sequences(self) -> tuple[dict[str, AnyArray], IntArray]:
        """(the batch of every sequence, in order of streams, each one's first step in its stream [N])."""
        horizon, envs = self.config.actors.chunk_transitions, self.config.actors.envs_per_actor
        starts = np.arange(0, horizon, self.agent.stride)
        batch = {}
        for name, array in self.segments.items():
            field = self.agent.fields.get(name)
            if field is not None and field.windowed:
                array = np.stack([array[:, start : start + field.window] for start in starts], axis=1)
            by_stream = array.reshape(-1, envs, *array.shape[1:]).swapaxes(0, 1)
            batch[name] = by_stream.reshape(-1, *array.shape[2:])
        chunks = len(self.segments["kinds"]) // envs
        first = (np.arange(chunks)[:, None] * horizon + starts).reshape(-1)
        return batch, np.tile(first, envs)

    @torch.no_grad()
    def q_values(self, batch: dict[str, AnyArray], steps: int, with_state: bool) -> AnyArray:
        """[B, steps, A], unrolled from the state before the first, or from none."""
        agent = self._agent()
        agent._steps = steps
        tensors: dict[str, Any] = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in batch.items()}
        seen, state, first = agent._sequences(tensors)
        if not with_state:
            state = {name: torch.zeros_like(part) for name, part in state.items()}
        q: AnyArray = agent._objective.q_values(self.network(seen, state, first, 0)).numpy()
        return q


def discrepancy(played: Played, with_state: bool) -> AnyArray:
    """Of each sequence that counts and step, [N, P]; nan after its episode's end."""
    whole, (batch, first) = played.streams(), played.sequences()
    true = played.q_values(whole, whole["kinds"].shape[1] + 1, with_state=True)
    steps = batch["kinds"].shape[1] + 1
    stream = np.repeat(np.arange(len(true)), len(first) // len(true))
    begins = batch[f"{STORED}{LAST_ACTION}"].reshape(len(first), -1)[:, 0] < 0
    kept = ~begins & (first + steps <= true.shape[1])
    at = first[kept, None] + np.arange(steps)
    expected = true[stream[kept][:, None], at]
    parts = np.array_split(np.flatnonzero(kept), max(int(kept.sum()) // 1000, 1))
    found = np.concatenate(
        [played.q_values({name: array[part] for name, array in batch.items()}, steps, with_state) for part in parts]
    )
    error = np.linalg.norm(found - expected, axis=-1) / np.abs(found.max(axis=(1, 2)))[:, None]
    ended = np.cumsum(batch["kinds"][kept] == RESET, axis=1) > 0
    return np.where(np.pad(ended, ((0, 0), (1, 0))), np.nan, error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--updates", type=int, default=3000)
    words = parser.parse_args()
    curves: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        played = {m: Played(m, words.updates, Path(folder)) for m in dict.fromkeys(m for m, _ in COMPARED.values())}
        for name, (memory, with_state) in COMPARED.items():
            curves[name] = [float(x) for x in np.nanmean(discrepancy(played[memory], with_state), axis=0)]
    words.folder.mkdir(parents=True, exist_ok=True)
    for name, curve in curves.items():
        plt.plot(np.maximum(curve, 1e-7), label=name)
    plt.axvline(
        played["lstm"].config.sequences.burn_in_steps, color="gray", linestyle=":", label="the preset's burn-in"
    )
    plt.yscale("log")
    plt.xlabel("steps since the sequence's beginning")
    plt.ylabel("|q' - q| / |max q'|")
    plt.legend()
    plt.tight_layout()
    plt.savefig(words.folder / "states.png", dpi=120)
    write(words.folder / "states.json", {"updates": words.updates, "discrepancy_by_step": curves})


if __name__ == "__main__":
    main()
