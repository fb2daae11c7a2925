"""Evaluation: full, unclipped episodes of fixed weights, by the same code while training and afterwards."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from apex_ray.config.load import TRAINER, load_run_config
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.envs.base import RecordsMovies
from apex_ray.envs.make import make_envs, probe
from apex_ray.envs.rollout import play_episodes, replay_episode
from apex_ray.learner.checkpoint import Counters, find, load_policy_weights, misfit, save_best
from apex_ray.networks.build import Inference, build_network
from apex_ray.report.atari_scores import human_normalised
from apex_ray.report.video import write_video
from apex_ray.types import AnyArray, EnvSpec, EvaluationResult, IntArray, Weights
from cluster.runs import open_run

# Evaluation environments never share a seed with training: they start far from any actor's.
SEED_OFFSET = 500_000_000


def evaluation_env(config: ApexConfig) -> EnvConfig:
    """The environment of evaluations: training's, on the stages of `evaluation.stages` when there are some."""
    stages = config.evaluation.stages
    return config.env.model_copy(update={"stages": stages}) if stages else config.env


class Evaluator:
    """Keeps environments and a network between evaluations. With `record`, the best episode can be filmed."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, episodes: int, record: bool) -> None:
        self._config, self._spec, self._episodes = config, spec, episodes
        self._policy = Inference(build_network(spec, config.network))
        envs = min(config.evaluation.envs, episodes)
        self._envs = make_envs(evaluation_env(config), envs, threads=1, render=record, in_order=True)
        self._seed = SEED_OFFSET + config.seed * 10_000
        self._best = (0, 0)

    def evaluate(self, weights: Weights, frames: int) -> EvaluationResult:
        """Play full episodes with these weights, made when `frames` emulator frames had been seen."""
        started = time.monotonic()
        self._policy.load(weights.params)
        self._seed += self._envs.num_envs  # new starts for each evaluation
        epsilon = self._config.evaluation.epsilon
        played = play_episodes(self._envs, self._policy, self._episodes, epsilon, self._seed)
        self._best = played.best
        return EvaluationResult(
            version=weights.version,
            updates=weights.version,
            frames=frames,
            returns=played.returns,
            lengths_steps=played.lengths_steps,
            human_normalised=human_normalised(self._config.env.id, float(np.mean(played.returns))),
            wall_s=time.monotonic() - started,
            stages=played.stages,
            scores_of=self._spec.scores_of,
        )

    def film_best(self, path: Path) -> Path | None:
        """Write the best episode of the last evaluation as a video and, where the emulator records one, its movie.

        Returns the movie's path, `path` with the suffix .bk2, or None.
        """
        pictures = replay_episode(self._envs, self._policy, self._config.evaluation.epsilon, self._seed, self._best)
        fps = 60 / self._spec.frame_skip if self._spec.frame_skip > 1 else 30
        if not isinstance(self._envs, RecordsMovies):
            write_video(pictures, path, fps)
            return None
        index, episode = self._best
        with tempfile.TemporaryDirectory() as folder:
            self._envs.record(index, Path(folder))
            write_video(pictures, path, fps)
            self._envs.record(index, None)
            movie = path.with_suffix(".bk2")
            shutil.move(Path(folder, f"{episode}.bk2"), movie)
            return movie

    def close(self) -> None:
        self._envs.close()


class BestKeeper:
    """Evaluates while training: the best weights and their video stay in the run folder."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, run: Path, best: float | None) -> None:
        self._config, self._run, self._best = config, run, best
        self._evaluator = Evaluator(config, spec, config.evaluation.episodes, record=config.evaluation.video)

    def evaluate(self, weights: Weights, counters: Counters) -> EvaluationResult:
        """Play the configured episodes; a new best replaces checkpoints/best and videos/best.mp4."""
        result = self._evaluator.evaluate(weights, counters.frames)
        if self._best is None or result.mean_return > self._best:
            self._best = result.mean_return
            save_best(self._run, replace(counters, updates=weights.version, best_return=self._best), weights.params)
            if self._config.evaluation.video:
                video = self._run / "videos" / "best.mp4"
                _name_films(result, video, self._evaluator.film_best(video))
        return result


def evaluate_run(
    run: Path, config: ApexConfig, checkpoint: str, episodes: int | None, video: Path | None
) -> EvaluationResult:
    """Evaluate a checkpoint of a finished (or running) run: best, latest or a checkpoint folder's name."""
    spec = probe(config.env)
    params, counters = load_policy_weights(run, checkpoint)
    evaluator = Evaluator(config, spec, episodes or config.evaluation.episodes, record=video is not None)
    try:
        result = evaluator.evaluate(Weights(counters.updates, params), counters.frames)
        if video is not None:
            _name_films(result, video, evaluator.film_best(video))
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise misfit(find(run, checkpoint), config.env.id, error) from None
    finally:
        evaluator.close()
    return result


def _name_films(result: EvaluationResult, video: Path, movie: Path | None) -> None:
    result.video, result.movie = str(video), str(movie) if movie else None


class Policy:
    """Trained weights as a function: what to do in each of E environments."""

    def __init__(self, spec: EnvSpec, config: ApexConfig, params: dict[str, AnyArray]) -> None:
        self.spec = spec
        self.q_values = Inference(build_network(spec, config.network))
        self.q_values.load(params)

    def __call__(self, observations: AnyArray) -> IntArray:
        """Greedy actions int64 [E] for observations [E, S, *F] as `envs.make.make_envs` gives them."""
        actions: IntArray = self.q_values(observations).argmax(1)
        return actions


def load_policy(run: Path | str, checkpoint: str = "best") -> Policy:
    """The policy of a run folder's checkpoint: best, latest or a folder's name. UserError when it does not read."""
    folder = open_run(run, TRAINER)
    config = load_run_config(folder).config
    params, _ = load_policy_weights(folder, checkpoint)
    return Policy(probe(config.env), config, params)
