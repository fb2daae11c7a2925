"""Evaluation: full, unclipped episodes of fixed weights, by the same code while training and afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from apex_ray.envs.make import make_envs, probe
from apex_ray.envs.rollout import Episodes, play_episodes

from apex_ray.config.schema import ApexConfig
from apex_ray.envs.base import VectorEnv
from apex_ray.learner.checkpoint import Counters, load_policy_weights, save_best
from apex_ray.networks.build import Inference, build_network
from apex_ray.report.atari_scores import human_normalised
from apex_ray.report.video import write_video
from apex_ray.types import EnvSpec, EvaluationResult, Weights
from cluster.errors import UserError

# Evaluation environments never share a seed with training: they start far from any actor's.
SEED_OFFSET = 500_000_000


@dataclass
class Evaluator:
    """Keeps environments and a network between evaluations."""

    config: ApexConfig
    spec: EnvSpec
    record: bool

    def __post_init__(self) -> None:
        self._policy = Inference(build_network(self.spec, self.config.network))
        self._envs: VectorEnv | None = None
        self._rounds = 0

    def evaluate(self, weights: Weights, frames: int, episodes: int, video: Path | None) -> EvaluationResult:
        """Play `episodes` full episodes; with `video`, write the best one there (only when recording was asked for)."""
        started = time.monotonic()
        self._policy.load(weights.params)
        played = self._play(episodes, video is not None)
        result = EvaluationResult(
            version=weights.version,
            updates=weights.version,
            frames=frames,
            returns=played.returns,
            lengths_steps=played.lengths_steps,
            human_normalised=human_normalised(self.config.env.id, float(np.mean(played.returns))),
            wall_s=time.monotonic() - started,
        )
        if video is not None and played.video:
            write_video(played.video, video, fps=max(60 // self.spec.frame_skip, 1))
            result.video = str(video)
        return result

    def _play(self, episodes: int, record: bool) -> Episodes:
        config = self.config.evaluation
        if self._envs is None:
            self._envs = make_envs(self.config.env, min(config.envs, episodes), threads=1, render=self.record)
        seed = SEED_OFFSET + self.config.seed * 10_000 + self._rounds * 100
        self._rounds += 1
        rng = np.random.default_rng(seed)
        return play_episodes(self._envs, self._policy, episodes, config.epsilon, rng, seed, record)


class BestKeeper:
    """Evaluates while training: the best weights and their video stay in the run folder."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, run: Path, best: float | None) -> None:
        self._config, self._run, self._best = config, run, best
        self._evaluator = Evaluator(config, spec, record=config.evaluation.video)

    def evaluate(self, weights: Weights, counters: Counters) -> EvaluationResult:
        """Play the configured episodes; a new best replaces checkpoints/best and videos/best.mp4."""
        folder = self._run / "videos"
        folder.mkdir(exist_ok=True)
        candidate = folder / "candidate.mp4" if self._config.evaluation.video else None
        result = self._evaluator.evaluate(weights, counters.frames, self._config.evaluation.episodes, candidate)
        improved = self._best is None or result.mean_return > self._best
        if improved:
            self._best = result.mean_return
            save_best(self._run, replace(counters, updates=weights.version, best_return=self._best), weights.params)
        if candidate is not None and candidate.exists():
            if improved:
                candidate.replace(folder / "best.mp4")
            else:
                candidate.unlink()
            result.video = str(folder / "best.mp4")
        return result


def evaluate_run(
    run: Path, config: ApexConfig, checkpoint: str, episodes: int | None, video: Path | None
) -> EvaluationResult:
    """Evaluate a checkpoint of a finished (or running) run: best, latest or a checkpoint folder's name."""
    spec = probe(config.env)
    params, counters = load_policy_weights(run, checkpoint)
    evaluator = Evaluator(config, spec, record=video is not None)
    weights = Weights(counters.updates, params)
    try:
        return evaluator.evaluate(weights, counters.frames, episodes or config.evaluation.episodes, video)
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise UserError(
            f"checkpoint {checkpoint!r} of {run} does not fit the configured network or environment "
            f"({config.env.id}): {str(error).splitlines()[-1].strip()}"
        ) from None
