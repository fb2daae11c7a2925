"""What a run of a size is expected to do, and which of its parts is the wall: from what the parts were measured to do.

Each part has work that comes with the actors' steps, and a most that it can do. Actors make as many steps as the parts
that they wait for can take. The part with the largest share of its most is the wall: what to make larger first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from apex_ray.config.load import load
from apex_ray.config.schema import ApexConfig
from apex_ray.measured import Measured
from apex_ray.sizes import Sizes
from apex_ray.talk import ASK_EVERY_S, FEW_ACTORS, GATHER_S, REPORT_EVERY_S
from apex_ray.types import EnvSpec
from trainkit.words import plural, size, table

GIB = 2**30
HALVINGS = 40  # of the pace that is looked for


@dataclass(frozen=True)
class Places:
    """What of a run is on which node, by any name of the node."""

    learner: str
    shards: Sequence[str]  # of each; the first is with the learner
    actors: Mapping[str, int]
    gpus: Collection[str] = ()  # nodes that have one


@dataclass(frozen=True)
class Part:
    """One part's work a second."""

    name: str
    work: float
    most: float | None  # None: not known
    unit: str
    holds_up: bool  # whether actors wait for it; else it falls behind

    @property
    def share(self) -> float | None:
        return None if self.most is None else self.work / self.most


@dataclass(frozen=True)
class Estimate:
    """Of a run that is under way."""

    steps_per_s: float  # of all actors, by the parts whose most is known
    wanted_steps_per_s: float  # if nothing held them up
    parts: list[Part]  # at that pace
    memory_bytes: float  # of replay, actors and what is on its way
    samples_per_s: float | None  # of the learner, at most

    @property
    def wall(self) -> Part | None:
        """The part that is nearest to its most; None where no part's is known."""
        known = [part for part in self.parts if part.share is not None]
        return max(known, key=lambda part: part.share or 0.0, default=None)


def estimate(
    config: ApexConfig, spec: EnvSpec, sizes: Sizes, places: Places, gpu: bool, store_bytes: float, measured: Measured
) -> Estimate:
    """`gpu`: whether the learner has one; `store_bytes`: of all nodes' shared memory that the run may fill."""
    network, wanted = known_network(config, spec), sizes.actors * actor_rate(config, measured)
    samples, version_bytes = measured.samples_per_s, measured.weights_bytes
    if network is not None:
        of_one = None if gpu else getattr(measured, f"{network}_samples_per_s")
        samples = samples or (of_one and of_one * config.learner.workers)
        version_bytes = version_bytes or getattr(measured, f"{network}_weights_bytes")
    work = _Work(config, sizes, places, gpu, samples, version_bytes, measured)
    steps = work.pace(wanted)
    actor_bytes = measured.actor_bytes if config.actors.inference == "local" else measured.central_actor_bytes
    memory_bytes = sizes.replay_bytes + store_bytes + sizes.actors * actor_bytes
    memory_bytes += inferring(config, places) * measured.actor_bytes
    return Estimate(steps, wanted, work.parts(steps), memory_bytes, samples)


def actor_rate(config: ApexConfig, measured: Measured) -> float:
    """Agent steps/s of one actor that waits for nobody; taken to grow with its threads."""
    if config.actors.inference != "local":
        return measured.emulator_steps_per_s * config.actors.threads
    two = config.actors.groups > 1
    return (measured.actor_two_groups_steps_per_s if two else measured.actor_steps_per_s) * config.actors.threads


def inferring(config: ApexConfig, places: Places) -> int:
    """How many processes there are that infer for actors."""
    if config.actors.inference == "node":
        return sum(count > 0 for count in places.actors.values())
    return int(config.actors.inference == "central")


def known_network(config: ApexConfig, spec: EnvSpec) -> str | None:
    """The preset whose network the run has, of those that were measured; None where it has another."""
    if [leaf.shape for leaf in spec.seen.values()] != [(84, 84)]:
        return None
    return next((name for name in ("pong", "atari") if load(name).config.network == config.network), None)


@dataclass(frozen=True)
class _Work:
    """What each part has to do for so many steps."""

    config: ApexConfig
    sizes: Sizes
    places: Places
    gpu: bool  # whether the learner has one
    samples_per_s: float | None  # of the learner, at most
    version_bytes: float | None  # of its weights
    measured: Measured

    def pace(self, wanted: float) -> float:
        """The most steps/s, up to `wanted`, that no part is asked too much by that actors wait for."""
        full_anyway = {part.name for part in self.parts(0.0) if (part.share or 0.0) > 1}

        def fits(steps: float) -> bool:
            parts = [part for part in self.parts(steps) if part.holds_up and part.name not in full_anyway]
            return all((part.share or 0.0) <= 1 for part in parts)

        low, high = 0.0, wanted
        if fits(wanted):
            return wanted
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def parts(self, steps_per_s: float) -> list[Part]:
        """All of them, where all actors together make so many steps a second."""
        a, m, shards = self.config.actors, self.measured, len(self.places.shards)
        rounds = steps_per_s / (self.sizes.actors * a.envs_per_actor)  # of an actor's environments
        chunk_bytes = self.sizes.actors * rounds * a.groups / a.chunk_transitions * self.sizes.chunk_bytes  # a second
        drawn, ratio = self._drawn(steps_per_s), self.config.replay.samples_per_insert
        found = []
        if ratio is not None:
            found.append(Part("learner", drawn, self.samples_per_s, "samples/s", True))
        busy = steps_per_s / shards / m.insert_transitions_per_s + drawn / shards / m.sample_transitions_per_s
        found.append(Part("a shard's inserts and samples", busy, 1.0, "of its time", True))
        found.append(Part("bytes into a shard", chunk_bytes / shards, m.shard_bytes_per_s, "bytes/s", True))
        found.append(self._into_a_node(chunk_bytes, drawn))
        if inferring(self.config, self.places):
            found.append(self._inference(steps_per_s))
        if self.version_bytes is not None and self.samples_per_s is not None:
            found.append(self._weights_out(drawn, self.version_bytes))
        return [*found, *self._talk(rounds)]

    def _inference(self, steps_per_s: float) -> Part:
        """Of the process for all actors, or the busiest node's: of those on CPUs, where there are some."""
        a, actors, count = self.config.actors, self.places.actors, inferring(self.config, self.places)
        most = self.measured.inference_steps_per_s * self.sizes.inference_cpus
        if a.inference == "central":
            on_gpu = self.gpu and a.inference_device != "cpu"
            return Part("inference", steps_per_s, None if on_gpu else most, "steps/s", True)
        on_cpus = {n: c for n, c in actors.items() if c and (a.inference_device == "cpu" or n not in self.places.gpus)}
        work = steps_per_s * max((on_cpus or actors).values()) / self.sizes.actors
        name = f"the busiest of {plural(count, 'inference process', 'inference processes')}"
        return Part(name, work, most if on_cpus else None, "steps/s", True)

    def _drawn(self, steps_per_s: float) -> float:
        """Samples/s: what the ratio to inserts asks for, without one what the learner takes and the shards give."""
        ratio = self.config.replay.samples_per_insert
        if ratio is not None:
            return steps_per_s * ratio
        return min(self.samples_per_s or 0.0, len(self.places.shards) * self.measured.sample_transitions_per_s)

    @property
    def _link(self) -> float | None:
        """Bytes/s of a node's network."""
        gbit = self.measured.link_gbit_per_s
        return None if gbit is None else gbit * 1e9 / 8

    def _into_a_node(self, chunk_bytes: float, drawn: float) -> Part:
        """The node that gets most: chunks for its shards, and what the learner samples of other nodes' shards."""
        shards, into = self.places.shards, dict[str, float]()
        for node in {self.places.learner, *shards}:
            elsewhere = 1 - self.places.actors.get(node, 0) / self.sizes.actors
            into[node] = chunk_bytes * elsewhere * shards.count(node) / len(shards)
        sample_bytes = self.sizes.batch_bytes / self.config.learner.batch_size
        others = sum(shard != self.places.learner for shard in shards) / len(shards)
        into[self.places.learner] += drawn * sample_bytes * others
        fullest = max(into, key=lambda node: into[node])
        return Part(f"network into {fullest}", into[fullest], self._link, "bytes/s", True)

    def _weights_out(self, drawn: float, version_bytes: float) -> Part:
        """Of the learner's node, should each other node with actors fetch every version from there."""
        learner = self.config.learner
        versions = min(drawn, self.samples_per_s or 0.0) / learner.batch_size / learner.publish_every_updates
        nodes = sum(count > 0 and node != self.places.learner for node, count in self.places.actors.items())
        return Part(
            f"weights out of {self.places.learner}", versions * nodes * version_bytes, self._link, "bytes/s", False
        )

    def _talk(self, rounds_per_s: float) -> list[Part]:
        """Of the actors with weights and metrics, by themselves or through the relay of their node."""
        a, m, actors, home = self.config.actors, self.measured, self.places.actors, self.places.learner
        relayed = [count for node, count in actors.items() if node != home and count > FEW_ACTORS]
        alone = sum(actors.values()) - sum(relayed)
        asks = rounds_per_s / a.weights_every_steps if a.inference == "local" else 0.0  # a second, of one actor
        questions = inferring(self.config, self.places) / ASK_EVERY_S
        questions += alone * asks + sum(min(count * asks, 1 / ASK_EVERY_S) for count in relayed)
        found = [Part("the weights holder", questions, m.weights_core_s and 1 / m.weights_core_s, "questions/s", False)]
        if m.report_core_s is None or m.relayed_report_core_s is None:
            calls = alone / REPORT_EVERY_S + sum(min(count / REPORT_EVERY_S, 1 / GATHER_S) for count in relayed)
            found.append(Part("metrics", calls, None, "calls/s", False))
        else:
            cores = (alone * m.report_core_s + sum(relayed) * m.relayed_report_core_s) / REPORT_EVERY_S
            found.append(Part("metrics", cores, 1.0, "of a core", False))
        if relayed:
            most = m.relay_core_s and 1 / m.relay_core_s
            found.append(Part("the busiest relay", max(relayed), most, "actors", False))
        return found


def in_words(found: Estimate, config: ApexConfig, measured: Measured) -> str:
    """As a table, with what it comes to in sentences below."""
    rows = [
        (part.name, _amount(part.work, part.unit), "not known" if part.most is None else _amount(part.most, part.unit),
         "-" if part.share is None else f"{part.share:.0%}")
        for part in found.parts
    ]  # fmt: skip
    said = f"expected: {found.steps_per_s:,.0f} env steps/s"
    if found.steps_per_s < 0.999 * found.wanted_steps_per_s:
        said += f" of the {found.wanted_steps_per_s:,.0f} that the actors could make"
    if (wall := found.wall) is not None:
        said += f"; the wall is {wall.name}"
    if found.samples_per_s is None:
        said += "; no such learner was measured, so it may be that: --given samples_per_s=N"
    elif config.replay.samples_per_insert is None:
        said += f"; a transition is sampled {found.samples_per_s / found.steps_per_s:.2g} times on average, at most"
    memory = f"memory: {size(found.memory_bytes)} for replay, actors and what is on its way"
    if measured.dollars_per_gib_hour is not None:
        memory += f", {found.memory_bytes / GIB * measured.dollars_per_gib_hour:,.2f} dollars an hour"
    return "\n".join([table(("part", "work", "most", "share"), rows), said, memory])


def _amount(value: float, unit: str) -> str:
    if unit == "bytes/s":
        return f"{size(value)}/s"
    return f"{value:.2f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
