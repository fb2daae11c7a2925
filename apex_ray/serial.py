"""The same parts in one process and one thread: deterministic with a seed, for debugging and tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from apex_ray.actor.epsilon import epsilon_ladder
from apex_ray.config.schema import ApexConfig
from apex_ray.envs import watchdog
from apex_ray.evaluation import BestKeeper
from apex_ray.learner.checkpoint import Counters, load_checkpoint, save_checkpoint
from apex_ray.learner.learner import Learner
from apex_ray.parts import build_actors, local_inference
from apex_ray.process import prepare_process
from apex_ray.replay import shards as sharding
from apex_ray.replay.build import build_limiter, build_replay
from apex_ray.replay.saving import load_replay, replay_file, save_replay
from apex_ray.report.failure import describe
from apex_ray.report.stages import StageRow
from apex_ray.report.tally import ActorReport, LearnerReport, Tally, UpdateMeans
from apex_ray.sizes import Sizes
from apex_ray.types import Batch, Chunk, EnvSpec, EvaluationResult, Weights


class LearnerSource:
    """One actor's source of weights: the newest that the learner has published, at once."""

    def __init__(self, newest: Callable[[], Weights]) -> None:
        self._newest = newest
        self._newer_than: int | None = None

    def request(self, newer_than: int) -> None:
        self._newer_than = newer_than

    def poll(self) -> Weights | None:
        asked, self._newer_than = self._newer_than, None
        newest = self._newest()
        return newest if asked is not None and newest.version > asked else None


class SerialProgram:
    """Actors take one step each in turn; whenever the limiter lets it, the learner makes one update.

    With `replay.samples_per_insert` null nothing would say how much to learn per step: one sample per transition, near
    what the paper's system came to (Horgan et al. 2018: 9.7k samples for 12.5k transitions a second).
    """

    def __init__(
        self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, run: Path, on_event: Callable[[str], None] = print
    ) -> None:
        self._on_event = on_event
        watchdog.say_with(on_event)
        if config.replay.samples_per_insert is None:
            config = config.model_copy(update={"replay": config.replay.model_copy(update={"samples_per_insert": 1.0})})
        self._config, self._spec, self._sizes, self._run = config, spec, sizes, run
        self.counters = Counters()
        self._result: EvaluationResult | None = None

    def start(self, resume: bool) -> None:
        """Build the parts, from the newest checkpoint when resuming. UserError where it does not read."""
        config, spec, sizes = self._config, self._spec, self._sizes
        prepare_process(sizes.learner_threads)
        self._learner = Learner(spec, config)
        if resume:
            saved = load_checkpoint(self._run)
            self._learner.load_state(saved.online, saved.target, saved.optimizer, saved.counters.updates)
            self.counters = saved.counters
        c = self.counters
        self._memory = build_replay(config, spec)
        self._limiter = build_limiter(config, sizes.chunk_transitions)
        if resume and self._replay_file.exists():
            load_replay(self._replay_file, self._memory, self._limiter)
        self._published = self._learner.weights()
        self._actors = [
            actor
            for i in range(sizes.actors)
            for actor in build_actors(
                config,
                spec,
                i,
                sizes.actors,
                local_inference(config, spec, LearnerSource(lambda: self._published)),
                c.generation,
            )
        ]
        self._steps = [0] * len(self._actors)
        ladder = epsilon_ladder(
            sizes.actors * config.actors.envs_per_actor, config.actors.epsilon_base, config.actors.epsilon_alpha
        )
        self._tally = Tally(ladder, spec.frame_skip, c.time_s, c.frames, c.updates, c.episodes)
        self._means = UpdateMeans()
        self._keeper = BestKeeper(config, spec, self._run, c.best_return)

    @property
    def _replay_file(self) -> Path:
        return replay_file(self._run, 0)

    def step(self) -> None:
        """One step of every actor, then the updates that it allows."""
        for actor in self._actors:
            chunk = actor.start_step()
            if chunk is not None:
                self.insert(chunk)
            actor.finish_step()
        while self._limiter.may_sample(self._config.learner.batch_size):
            self.update()

    def insert(self, chunk: Chunk) -> None:
        """Store a chunk. (Tests watch here what reaches replay.)"""
        self._limiter.inserted += self._memory.add(chunk)

    def sample(self) -> Batch:
        """The next batch for the learner. (Tests watch here what reaches the learner.)"""
        size = self._config.learner.batch_size
        self._limiter.sampled += size
        drawn = self._memory.sample(size)
        return sharding.merge([(0, 1.0, drawn)], drawn.size, self._config.replay.beta)

    def update(self) -> None:
        batch = self.sample()
        errors, stats = self._learner.update(batch)
        for update in sharding.split(batch.slots, batch.generations, errors).values():
            self._memory.update_priorities(update)
        self._means.add(**vars(stats), samples=len(batch.actions))
        if self._learner.updates % self._config.learner.publish_every_updates == 0:
            self._published = self._learner.weights()

    def watch(self, timeout_s: float) -> None:
        """Run for that long."""
        until = time.monotonic() + timeout_s
        try:
            while time.monotonic() < until:
                self.step()
        except Exception as error:  # the environment's, or a part's: for the user it ends the run all the same
            raise describe("the serial run", error, self._run) from error

    def row(self) -> dict[str, float]:
        for i, actor in enumerate(self._actors):
            steps, self._steps[i] = actor.steps - self._steps[i], actor.steps
            self._tally.actor(ActorReport(i, steps, actor.version, 0.0, 1.0, actor.ended_episodes()))
        self._tally.learner(LearnerReport(self._learner.updates, 0.0, 1.0, self._means))
        self._means = UpdateMeans()
        memory = self._memory
        return self._tally.row() | {
            "replay_transitions": memory.size,
            "replay_fill": memory.size / memory.capacity,
            "replay_bytes": self._sizes.replay_bytes,
            "replay_ratio": self._limiter.ratio,
            "stale_priorities": memory.stale_updates,
            "actors_alive": len(self._actors),
            "restarts": 0,
        }

    def stages(self) -> list[StageRow]:
        return self._tally.stages.rows()

    def publish(self, row: Mapping[str, float]) -> None:
        """Nobody scrapes a single process."""

    def start_evaluation(self, counters: Counters, interrupted: Callable[[], bool]) -> None:
        """Evaluates at once: there is no other process to do it."""
        try:
            self._result = self._keeper.evaluate(self._learner.weights(), counters, self._on_event, interrupted)
        except Exception as error:  # the environment's
            raise describe("the evaluation", error, self._run) from error

    def poll_evaluation(self) -> EvaluationResult | None:
        result, self._result = self._result, None
        return result

    @property
    def evaluating(self) -> bool:
        return self._result is not None

    def stop_actors(self) -> None:
        for actor in self._actors:
            actor.close()

    def save(self, counters: Counters) -> tuple[Path, int]:
        mine = replace(counters, updates=self._learner.updates)
        keep = self._config.checkpoint.keep
        return save_checkpoint(self._run, mine, *self._learner.state(), keep), mine.updates

    def save_replay(self) -> None:
        save_replay(self._replay_file, self._memory, self._limiter)
