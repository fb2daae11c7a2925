"""One actor process on one thread: its agent steps a second beside the bare emulator and bare inference."""

from __future__ import annotations

import numpy as np

from apex_ray.config.load import load
from apex_ray.envs.make import make_envs
from apex_ray.networks.build import Inference, build_network
from apex_ray.parts import build_actors
from apex_ray.process import prepare_process
from apex_ray.types import Weights
from benchmarks.machine import ROOT, write
from benchmarks.table import rates, show


class NoWeights:
    def request(self, newer_than: int) -> None: ...
    def poll(self) -> Weights | None:
        return None


def main() -> None:
    """The Nature network (3.29 M parameters) on Pong, 32 environments."""
    prepare_process(threads=1)
    config = load("atari", ["env.id=ALE/Pong-v5", "actors.envs_per_actor=32"]).config
    envs = make_envs(config.env, 32)
    rng = np.random.default_rng(0)
    observations = envs.reset(0)
    inference = Inference(build_network(envs.spec, config.network, seed=0))
    actor = build_actors(config, envs.spec, 0, 1, NoWeights())[0]

    def emulator() -> int:
        envs.send(rng.integers(envs.spec.num_actions, size=32))
        envs.recv()
        return 32

    def bare_inference() -> int:
        inference(observations)
        return 32

    def whole_actor() -> int:
        actor.start_step()
        actor.finish_step()
        return 32

    figures = rates({"emulator alone": emulator, "inference alone": bare_inference, "actor": whole_actor})
    figures["emulator and inference in turn"] = 1 / (1 / figures["emulator alone"] + 1 / figures["inference alone"])
    show("actor, one thread", "agent steps/s", figures, "emulator and inference in turn")
    write(ROOT / "results" / "bench" / "actor.json", figures)


if __name__ == "__main__":
    main()
