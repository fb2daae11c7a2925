"""Players without a network on the demo cartridge and on Airstriker: python -m benchmarks.retro_baselines

Contest scores of always-right, uniform, and 80% right with 20% jump on GreenHillZone.Act1 under the contest's rules and
without its sticky frame skip; of JERK under the rules; the uniform player's points on Airstriker.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apex_ray.config.load import load
from apex_ray.envs.make import make_envs
from apex_ray.envs.rollout import play_episodes
from apex_ray.retro import sonic
from apex_ray.retro.stage_end import StageEnd
from benchmarks.machine import ROOT, write
from benchmarks.scripted_players import Jerk, Mixture

EPISODES, ENVS, SEED = 20, 4, 900_000_000
CARTRIDGE_EPISODES = 12
STAGE = "GreenHillZone.Act1"
JERK_STEPS = 4_000
LIMIT_FRAMES = 2_400  # who always runs right stands before the first step until then: a longer limit adds nothing
RIGHT, LEFT, JUMP = (sonic.ACTIONS.index(a) for a in ("RIGHT", "LEFT", "B"))


def _mix(**shares: float) -> list[float]:
    return [shares.get(name.replace("+", "_"), 0.0) for name in sonic.ACTIONS]


PLAYERS = {
    "always right": _mix(RIGHT=1.0),
    "uniform": [1 / 7] * 7,
    "80% right, 20% jump": _mix(RIGHT=0.8, B=0.2),
}


def sonic_scores(preset: str) -> dict[str, Any]:
    """Contest scores of each player on the cartridge's first stage, by the rules of a preset."""
    words = ["env.kwargs.demo=true", f"env.kwargs.stages={STAGE}", f"env.max_episode_frames={LIMIT_FRAMES}"]
    config = load(preset, words).config
    figures: dict[str, Any] = {}
    for name, probabilities in PLAYERS.items():
        envs = make_envs(config.env, ENVS, in_order=True)
        played = play_episodes(envs, Mixture(probabilities, SEED), CARTRIDGE_EPISODES, 0.0, SEED)
        ends = [StageEnd.of(values) for values in played.values]
        envs.close()
        figures[name] = _summary([e.score for e in ends], sum(e.completed for e in ends))
    if preset != "sonic_contest":
        return figures
    envs = make_envs(config.env, 1, in_order=True)
    ends = Jerk(envs, RIGHT, LEFT, JUMP, SEED).play(JERK_STEPS)
    envs.close()
    last = ends[-CARTRIDGE_EPISODES:]
    figures[f"JERK, the last {len(last)} of {len(ends)} episodes in {JERK_STEPS:,} steps"] = _summary(
        [e.score for e in last], sum(e.completed for e in last)
    )
    return figures


def airstriker_points() -> dict[str, float]:
    config = load("airstriker").config
    envs = make_envs(config.env, ENVS, in_order=True)
    actions = envs.spec.num_actions
    played = play_episodes(envs, Mixture([1 / actions] * actions, SEED), EPISODES, 0.0, SEED)
    envs.close()
    return _summary(played.returns)


def _summary(scores: list[float], completed: int | None = None) -> dict[str, float]:
    found: dict[str, float] = {
        "mean": float(np.mean(scores)),
        "std": float(np.std(scores)),
        "min": min(scores),
        "max": max(scores),
        "episodes": len(scores),
    }
    return found if completed is None else {**found, "completed": completed}


def main() -> None:
    figures: dict[str, Any] = {"scores of": "the demo cartridge, not Sonic", STAGE: {}}
    for preset in ("sonic", "sonic_contest"):
        figures[STAGE][preset] = sonic_scores(preset)
        write(ROOT / "results" / "sonic" / "baselines.json", figures)
    print(figures)
    write(ROOT / "results" / "airstriker" / "baseline.json", {"uniform": airstriker_points()})


if __name__ == "__main__":
    main()
