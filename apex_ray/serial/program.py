"""The same parts in one process and one thread: deterministic with a seed, its end and its resumption included."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from apex_ray import stacks
from apex_ray.agent.build import build_agent
from apex_ray.agent.exploration import epsilons_of
from apex_ray.config.schema import ApexConfig
from apex_ray.envs import watchdog
from apex_ray.evaluation import BestKeeper
from apex_ray.learner.checkpoint import load_checkpoint, save_checkpoint
from apex_ray.learner.learner import Learner
from apex_ray.process import prepare_process
from apex_ray.replay import shards as sharding
from apex_ray.replay.build import build_limiter, build_replay
from apex_ray.replay.snapshots import Restored, Snapshots, saved_shards, shard_folder
from apex_ray.report.episodes import reporter_named
from apex_ray.report.failure import describe
from apex_ray.report.tally import ActorReport, LearnerReport, Tally, UpdateMeans
from apex_ray.serial import state as serial_state
from apex_ray.serial.process import ProcessState, SerialProcess
from apex_ray.sizes import Sizes
from apex_ray.types import AnyArray, Batch, Chunk, Counters, EnvSpec, EvaluationResult, Weights
from trainkit.manifest import DamagedError


class SerialProgram:
    """Actors take one step each in turn; whenever the limiter lets it, the learner makes one update.

    With `replay.samples_per_insert` null nothing would say how much to learn per step: one sample per transition, near
    what the paper's system came to (Horgan et al. 2018: 9.7k samples for 12.5k transitions a second). One process has
    one shard.
    """

    def __init__(
        self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, run: Path, say: Callable[[str], None] = print
    ) -> None:
        ratio = config.replay.samples_per_insert or 1.0
        replay = config.replay.model_copy(update={"samples_per_insert": ratio, "shards": 1})
        self._config = config.model_copy(update={"replay": replay})
        self._spec, self._sizes, self._run, self._say = spec, sizes, run, say
        watchdog.say_with(say, partial(stacks.write_own, run, "environment"))
        self.counters = Counters()
        self._result: EvaluationResult | None = None
        self._saved_update = 0
        self._stopped: list[ProcessState] = []
        self._keeper: BestKeeper | None = None

    def start(self, resume: bool, warm: Mapping[str, AnyArray] | None = None) -> None:
        """Build the parts, from the newest checkpoint when resuming, else with the parameters `warm`.

        UserError where the checkpoint does not read, and for what an environment raises.
        """
        try:
            self._start(resume, warm)
        except Exception as error:
            raise describe("the serial run", error, self._run) from error

    def _start(self, resume: bool, warm: Mapping[str, AnyArray] | None) -> None:
        config, spec, sizes = self._config, self._spec, self._sizes
        prepare_process(sizes.learner_threads)
        self._agent = build_agent(config, spec)
        self._learner = Learner(self._agent, config)
        if resume:
            saved = load_checkpoint(self._run)
            self._learner.load_state(saved.online, saved.target, saved.optimizer, saved.counters.updates)
            self.counters = saved.counters
        elif warm:
            self._learner.warm_start(warm)
        c = self.counters
        self._memory = build_replay(config, self._agent.fields, sizes.stride)
        self._snapshots = Snapshots(shard_folder(self._run, 0), self._memory)
        self._limiter = build_limiter(config, sizes.chunk_transitions, sizes.learned)
        self._published = self._learner.weights()
        state = serial_state.load(self._run, c.updates, self._say) if resume else None
        restored = self._restored() if resume else None
        whole = restored is not None and restored.update == c.updates
        if restored is None or state is None or not whole or not self._go_on(state, restored):
            self._generation = c.generation
            self._processes = self._build_processes()
        self._actors = [actor for process in self._processes for actor in process.actors]
        self._steps = [actor.steps for actor in self._actors]
        epsilons = epsilons_of(config.actors, sizes.actors)
        self._tally = Tally(epsilons, spec.frame_skip, reporter_named(spec.reporter))
        self._tally.go_on_from(c)
        self._means = UpdateMeans()
        self._keeper = BestKeeper(config, spec, self._run)

    def _build_processes(self) -> list[SerialProcess]:
        count = self._sizes.actors
        return [
            SerialProcess(self._config, self._spec, self._agent, index, count, self._generation, self._newest)
            for index in range(count)
        ]

    def _newest(self) -> Weights:
        return self._published

    def _restored(self) -> Restored | None:
        """The replay's snapshot, loaded; None, said, where none can be."""
        if not saved_shards(self._run):
            self._say("replay starts empty: it was not saved (checkpoint.replay)")
            return None
        try:
            restored = self._snapshots.load()
        except DamagedError as error:
            self._say(f"replay starts empty: {error}")
            return None
        self._limiter.start_from(restored.inserted, restored.sampled)
        if restored.update != self.counters.updates or restored.lost_segments:
            self._say(f"replay goes on with {restored}")
        return restored

    def _go_on(self, state: serial_state.State, restored: Restored) -> bool:
        """Bring everything back to where it was; False, said, where the environments can't be."""
        if state.samples_per_insert == self._config.replay.samples_per_insert:
            # As they were: all actors insert before the learner's turn, which may be beyond the bounds.
            self._limiter.inserted, self._limiter.sampled = restored.inserted, restored.sampled
        self._generation, self._published = state.generation, state.published
        self._processes = self._build_processes()
        try:
            if len(state.processes) != len(self._processes):
                raise ValueError(f"actors.count was {len(state.processes)} and is {len(self._processes)}")
            again = _PlayedAgain(
                sum(actor["log"].size for saved in state.processes for actor in saved.actors),
                self._config.report.line_every_s,
                self._say,
            )
            for process, saved in zip(self._processes, state.processes, strict=True):
                process.load(saved, again)
        except (KeyError, ValueError) as error:
            self._say(f"new episodes begin, so this is not bit for bit the run without a stop: {error}")
            for process in self._processes:
                process.close()
            return False
        return True

    def work(self) -> None:
        """The next piece: an update where the limiter allows one, else a step of every actor."""
        if self._limiter.samples_allowed >= self._limiter.sampled + self._config.learner.batch_size:
            self.update()
            return
        for actor in self._actors:
            chunk = actor.start_step()
            if chunk is not None:
                self.insert(chunk)
            actor.finish_step()

    def insert(self, chunk: Chunk) -> None:
        """Store a chunk. (Tests watch here what reaches replay.)"""
        self._limiter.inserted += self._memory.add(chunk) * self._sizes.stride

    def sample(self) -> Batch:
        """The next batch for the learner. (Tests watch here what reaches the learner.)"""
        size = self._config.learner.batch_size
        self._limiter.sampled += size * self._sizes.learned
        drawn = self._memory.sample(size)
        return sharding.merge([(0, 1.0, drawn)])

    def update(self) -> None:
        batch = self.sample()
        errors, metrics = self._learner.update(batch)
        for update in sharding.split(batch.slots, batch.overwrites, errors).values():
            self._memory.update_priorities(update)
        self._means.add(metrics, samples=len(batch.slots))
        if self._learner.updates % self._config.learner.publish_every_updates == 0:
            self._published = self._learner.weights()

    def watch(self, timeout_s: float) -> bool:
        """Run for that long, or until a limit of `stop` is reached, at that very update or step: whether one is."""
        until = time.monotonic() + timeout_s
        try:
            while not self._at_limit and time.monotonic() < until:
                self.work()
        except Exception as error:  # the environment's, or a part's: for the user it ends the run all the same
            raise describe("the serial run", error, self._run) from error
        return self._at_limit

    @property
    def _at_limit(self) -> bool:
        updates, frames = self._config.stop.after_updates, self._config.stop.after_frames
        if updates is not None and self._learner.updates >= updates:
            return True
        if frames is None:
            return False
        unreported = sum(actor.steps for actor in self._actors) - sum(self._steps)
        return self._tally.frames + unreported * self._spec.frame_skip >= frames

    def checkpoint_wanted(self) -> bool:
        return False

    def row(self) -> dict[str, float]:
        for i, actor in enumerate(self._actors):
            steps, self._steps[i] = actor.steps - self._steps[i], actor.steps
            self._tally.actor(ActorReport(i, steps, actor.version, 0.0, 1.0, actor.ended_episodes()))
        self._tally.learner(LearnerReport(self._learner.updates, 0.0, 1.0, self._means))
        self._means = UpdateMeans()
        memory = self._memory
        return self._tally.row() | {
            "replay_transitions": memory.transitions,
            "replay_fill": memory.size / memory.capacity,
            "replay_bytes": self._sizes.replay_bytes,
            "replay_ratio": self._limiter.ratio,
            "stale_priorities": memory.stale_updates,
            "actors_alive": len(self._actors),
            "restarts": 0,
        }

    def episode_rows(self) -> list[Any]:
        return self._tally.reporter.rows()

    def publish(self, row: Mapping[str, float]) -> None:
        """Nobody scrapes a single process."""

    def start_evaluation(self, counters: Counters, interrupted: Callable[[], bool]) -> None:
        """Evaluates at once: there is no other process to do it."""
        assert self._keeper is not None  # since start()
        try:
            self._result = self._keeper.evaluate(self._learner.weights(), counters, self._say, interrupted)
        except Exception as error:  # the environment's
            raise describe("the evaluation", error, self._run) from error

    def abandon_evaluation(self) -> None:
        """There is none under way when this can be called."""

    def poll_evaluation(self) -> EvaluationResult | None:
        result, self._result = self._result, None
        return result

    @property
    def evaluating(self) -> bool:
        return self._result is not None

    def weights(self) -> Weights:
        """The learner's own, of now."""
        return self._learner.weights()

    def rest(self) -> int:
        """Nothing learns by itself here."""
        return self._learner.updates

    def end_actors(self) -> None:
        """Close their environments; what going on from here needs of them is kept."""
        self._stopped = [process.state() for process in self._processes]
        for process in self._processes:
            process.close()

    def let_go(self) -> None:
        """Close the environments of evaluations. There are no processes."""
        if self._keeper is not None:
            self._keeper.close()

    def save(self, counters: Counters) -> tuple[Path, int]:
        mine = replace(counters, updates=self._learner.updates)
        keep = self._config.checkpoint.keep
        path = save_checkpoint(self._run, mine, *self._learner.state(), keep)
        self._saved_update = mine.updates  # only then: what belongs to it may be saved
        return path, mine.updates

    def send_rest(self) -> None:
        """All that is written is the caller's to send."""

    def save_replay(self) -> None:
        """Write all that going on bit for bit needs, as belonging to the last checkpoint; no work may come between."""
        self._snapshots.save(self._saved_update, lambda: (self._limiter.inserted, self._limiter.sampled))
        states, ratio = self._stopped or [p.state() for p in self._processes], self._config.replay.samples_per_insert
        serial_state.save(self._run, self._saved_update, self._generation, ratio, states, self._published)

    start_snapshot = save_replay  # there is nobody to write it meanwhile


class _PlayedAgain:
    """Says how many agent steps are played again, and every so often how far that is."""

    def __init__(self, steps: int, every_s: float, say: Callable[[str], None]) -> None:
        self._steps, self._every_s, self._say = steps, every_s, say
        self._done, self._printed_at = 0, time.monotonic()
        say(f"to be where the run stopped, its {steps:,} steps are played again")

    def __call__(self, steps: int) -> None:
        self._done += steps
        if time.monotonic() - self._printed_at >= self._every_s:
            self._printed_at = time.monotonic()
            self._say(f"{self._done:,} of {self._steps:,} steps played again")
