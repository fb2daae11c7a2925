"""Evaluation: full, unclipped episodes of fixed weights, by the same code while training and afterwards."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import Inference
from apex_ray.agent.policy import AgentPlayer
from apex_ray.config.plugins import KWARGS
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.envs.base import Noted, ProcessLostError, RecordsMovies
from apex_ray.envs.make import make_envs, probe
from apex_ray.envs.rollout import StoppedError, play_episodes, replay_episode
from apex_ray.envs.seeds import AFTERWARDS, EVALUATION, first_seed
from apex_ray.learner.checkpoint import does_not_fit, find, kept_best, load_policy_weights, save_best
from apex_ray.report.atari_scores import human_normalised
from apex_ray.report.video import write_video
from apex_ray.types import Counters, EnvSpec, EvaluationResult, Weights
from trainkit.errors import NotWrittenError, UserError, first_line
from trainkit.files import atomic_write
from trainkit.words import plural

Say = Callable[[str], None]
COMMAND_LINE_EVERY_S = 10.0  # between lines of progress, where someone waits for the result alone


def evaluation_env(config: ApexConfig) -> EnvConfig:
    """The environment of evaluations: training's, with what `evaluation` has of its settings."""
    env, e = config.env, config.evaluation
    own = {"kwargs": env.kwargs | e.env_kwargs, "max_episode_frames": e.max_episode_frames or env.max_episode_frames}
    return env.model_copy(update=own)


def check_evaluation_env(config: ApexConfig, spec: EnvSpec) -> None:
    """Refuse an `evaluation.env_kwargs` that the environment can't take, or that asks for another network."""
    key = "evaluation.env_kwargs"
    if not config.evaluation.env_kwargs:
        return
    try:
        found = probe(evaluation_env(config))
    except UserError as error:  # training's environment has been made: this is what differs
        what = str(error)
        where = f"{key} = {config.evaluation.env_kwargs}: "
        raise UserError(what.replace(KWARGS, key) if KWARGS in what else where + what) from None
    ours, theirs = _shapes(spec), _shapes(found)
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            raise UserError(
                f"{key} = {config.evaluation.env_kwargs}: {name} is {theirs.get(name)}; expected {ours.get(name)}, as "
                "in training"
            )


def _shapes(spec: EnvSpec) -> dict[str, str]:
    """What a network must fit, by name."""
    leaves = {name: f"{leaf.dtype} {list(leaf.shape)}" for name, leaf in spec.observation.items()}
    return {"num_actions": " x ".join(map(str, spec.branches)), **leaves}


class Progress:
    """A watch (envs/rollout.py): says how far an evaluation is, and ends it when it is asked to or its time is up."""

    def __init__(self, say: Say, every_s: float, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._say, self._every_s, self._interrupted = say, every_s, interrupted
        self.interrupted = False
        self.begin("evaluation", 0, None)

    def begin(self, what: str, asked: int, max_s: float | None) -> None:
        """`asked` episodes are about to be played, for `max_s` seconds at most; 0: a film is made of one."""
        self._what, self._asked = what, asked
        self._printed_at = now = time.monotonic()
        self._until = now + max_s if max_s else math.inf

    def __call__(self, episodes: int, steps: int) -> bool:
        now = time.monotonic()
        if now - self._printed_at >= self._every_s:
            self._printed_at = now
            done = f"{episodes} of {plural(self._asked, 'episode')}, " if self._asked else ""
            self._say(f"{self._what}: {done}{plural(steps, 'step')}")
        self.interrupted = self.interrupted or self._interrupted()
        return self.interrupted or now > self._until


class Evaluator:
    """Keeps environments and a network between evaluations. With `record`, the best episode can be filmed.

    `seeds` is where its environments' seeds come from (envs/seeds.py).
    """

    def __init__(
        self, config: ApexConfig, spec: EnvSpec, episodes: int, record: bool, seeds: range = EVALUATION
    ) -> None:
        self._config, self._spec, self._episodes = config, spec, episodes
        agent = build_agent(config, spec)
        self._network = Inference(agent)
        self._player = AgentPlayer(agent, self._network)
        envs = min(config.evaluation.envs, episodes)
        self._envs = make_envs(evaluation_env(config), envs, threads=1, render=record, in_order=True)
        self._seeds = seeds
        self._best: tuple[int, int] = (0, 0)
        self._cut_steps: int | None = None

    def evaluate(self, weights: Weights, frames: int, progress: Progress) -> EvaluationResult | None:
        """Play full episodes with these weights, made when `frames` emulator frames had been seen.

        None when it was interrupted. Where time was up, the result has fewer episodes and says so.
        """
        self._network.load(weights.params)
        e = self._config.evaluation
        # New starts for each evaluation.
        self._seed = first_seed(self._seeds, self._envs.num_envs, self._config.seed, weights.version)
        progress.begin("evaluation", self._episodes, e.max_s)
        played = play_episodes(self._envs, self._player, self._episodes, e.epsilon, self._seed, progress)
        if progress.interrupted:
            return None
        self._best, self._cut_steps = played.best, played.cut_steps
        missing = played.asked - len(played.returns)
        limit = f"within evaluation.max_s = {e.max_s:g} s" if e.max_s else ""
        note = f"{missing} more were not played {limit}" if missing else ""
        if played.cut_steps is not None:
            note = f"each cut at step {played.cut_steps:,}, as not every environment ended one {limit}: no best"
        return EvaluationResult(
            version=weights.version,
            updates=weights.version,
            frames=frames,
            returns=played.returns,
            lengths_steps=played.lengths_steps,
            human_normalised=human_normalised(self._spec.env_id, float(np.mean(played.returns))),
            episode_values=played.values,
            scores_of=self._spec.scores_of,
            reporter=self._spec.reporter,
            cut_steps=played.cut_steps,
            note=note,
        )

    def film_best(self, path: Path, progress: Progress, max_s: float | None = None) -> Path | None:
        """Write the best episode of the last evaluation as a video and, where the emulator records one, its movie.

        Returns the movie's path, `path` with the emulator's own suffix, or None. StoppedError when it was interrupted,
        or took more than `max_s` seconds.
        """
        progress.begin("video of the best episode", 0, max_s)
        epsilon = self._config.evaluation.epsilon
        pictures = replay_episode(self._envs, self._player, epsilon, self._seed, self._best, progress, self._cut_steps)
        fps = 60 / self._spec.frame_skip if self._spec.frame_skip > 1 else 30
        if not isinstance(self._envs, RecordsMovies):
            write_video(pictures, path, fps)
            return None
        index, episode = self._best
        with tempfile.TemporaryDirectory() as folder:
            self._envs.record(index, Path(folder))
            try:
                write_video(pictures, path, fps)
            finally:
                self._envs.record(index, None)
            suffix = self._envs.movie_suffix
            movie = path.with_suffix(suffix)
            try:
                atomic_write(movie, Path(folder, f"{episode}{suffix}").read_bytes())
            except OSError as error:
                raise NotWrittenError(f"can't write the movie {movie}: {error.strerror or error}") from None
            return movie

    @property
    def notes(self) -> list[str]:
        """What its environments gave that is not as they say and does no harm."""
        return self._envs.notes if isinstance(self._envs, Noted) else []

    def close(self) -> None:
        self._envs.close()


class BestKeeper:
    """Evaluates while training: the best weights and their video stay in the run folder."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, run: Path) -> None:
        self._config, self._run, self._best = config, run, kept_best(run)
        self._noted = any(note.startswith(f"env.id = {spec.env_id!r} gives") for note in spec.notes)
        self._evaluator = Evaluator(config, spec, config.evaluation.episodes, record=config.evaluation.video)

    def evaluate(
        self, weights: Weights, counters: Counters, say: Say, interrupted: Callable[[], bool] = lambda: False
    ) -> EvaluationResult | None:
        """Play the configured episodes; a new best replaces checkpoints/best and videos/best.mp4.

        `say` gets lines of progress. None when it was interrupted.
        """
        progress = Progress(say, self._config.report.line_every_s, interrupted)
        result = self._evaluator.evaluate(weights, counters.frames, progress)
        if not self._noted and self._evaluator.notes:  # by whole episodes, where the probe's few steps met nothing
            self._noted = True
            say(self._evaluator.notes[0])
        if result is not None and result.whole and (self._best is None or result.mean_return > self._best):
            try:
                self._keep(result, weights, counters, progress, say)
            except NotWrittenError as error:
                result.not_written = str(error)
            except StoppedError:
                limit = f"not done within evaluation.max_s = {self._config.evaluation.max_s} s"
                what = "interrupted" if progress.interrupted else limit
                say(f"the video of the best episode was {what}: it was not written")
        return result

    def _keep(
        self, result: EvaluationResult, weights: Weights, counters: Counters, progress: Progress, say: Say
    ) -> None:
        best = replace(counters, updates=weights.version, best_return=result.mean_return)
        save_best(self._run, best, weights.params)
        self._best = result.mean_return  # only then: the next one that is better than what is kept is kept
        if self._config.evaluation.video:
            video = self._run / "videos" / "best.mp4"
            try:
                movie = self._evaluator.film_best(video, progress, self._config.evaluation.max_s)
            except (NotWrittenError, StoppedError, ProcessLostError):
                raise
            except Exception as error:  # of drawing, whatever it is: the weights are kept, and training goes on
                reason = first_line(error)
                kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
                say(f"no video of the best episode: {kind}{reason}")
                return
            _name_films(result, video, movie)

    def close(self) -> None:
        self._evaluator.close()


def evaluate_run(
    run: Path,
    config: ApexConfig,
    checkpoint: str,
    episodes: int | None,
    video: Path | None,
    say: Say = lambda text: print(text, file=sys.stderr, flush=True),
) -> EvaluationResult:
    """Evaluate a checkpoint of a finished (or running) run: best, latest or a checkpoint folder's name.

    Its starts are others than those of evaluations while training, by which the best was chosen. `say` gets lines of
    progress.
    """
    spec = probe(config.env)
    check_evaluation_env(config, spec)
    params, counters = load_policy_weights(run, checkpoint)
    film = video and video.absolute()  # environments may change the current folder
    evaluator = Evaluator(config, spec, episodes or config.evaluation.episodes, video is not None, AFTERWARDS)
    progress = Progress(say, COMMAND_LINE_EVERY_S)
    try:
        result = evaluator.evaluate(Weights(counters.updates, params), counters.frames, progress)
        assert result is not None  # nobody interrupts but by KeyboardInterrupt
        if video is not None and film is not None:
            movie = evaluator.film_best(film, progress)
            _name_films(result, video, movie and video.with_suffix(movie.suffix))
    except KeyboardInterrupt:
        say("interrupted: no result")
        raise
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise does_not_fit(find(run, checkpoint), config.env.id, error) from None
    finally:
        evaluator.close()
    return result


def _name_films(result: EvaluationResult, video: Path, movie: Path | None) -> None:
    result.video, result.movie = str(video), str(movie) if movie else None
