"""What a run asks of a cluster: its bundles, for the plan, for placement and for the autoscaler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from apex_ray.config.load import load
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.envs.make import probe
from apex_ray.estimate import Places, estimate, in_words
from apex_ray.measured import measured
from apex_ray.sizes import Sizes, resolve_sizes
from apex_ray.types import EnvSpec
from cluster.resources import Bundle, Fit, Planner
from trainkit.errors import UserError

MIN_OBJECT_STORE_BYTES = 256 * 2**20
# Names of the bundles. The learner's holds the first replay shard too, so that batches do not cross the network.
LEARNER, WORKER, REPLAY, INFERENCE, ACTOR = "learner+replay-0", "learner worker", "replay", "inference", "actor"
_SPECS: dict[str, EnvSpec] = {}  # by an environment's settings


def bundles(config: ApexConfig, sizes: Sizes, gpus: float) -> list[Bundle]:
    """The run's needs on a cluster with that many GPUs; the learner first, the actors, which scale, last."""
    a, shards, workers = config.actors, config.replay.shards, config.learner.workers
    gpu = gpus > 0 and config.learner.device != "cpu"
    inference_gpu = gpu and a.inference == "central" and a.inference_device != "cpu"
    # Twice what is in flight: Ray frees late. Chunks lie at their actor and, on the way in, at their shard.
    chunks = 2 * (a.chunks_in_flight + 1) * a.groups * sizes.chunk_bytes
    of_actor = -(-chunks // shards)  # each actor sends to all shards in turn
    arriving = of_actor * sizes.actors
    batches = 2 * (config.learner.prefetch_batches + 2) * sizes.batch_bytes
    labels = config.cluster.learner_labels
    needed = [
        Bundle(
            LEARNER,
            cpus=sizes.learner_threads,
            gpus=1.0 if gpu else 0.0,
            memory_bytes=sizes.replay_bytes // shards,
            object_store_bytes=arriving + batches,
            labels=labels,
            scaling_bytes=of_actor,
        )
    ]
    if workers > 1:
        share = Bundle(
            WORKER,
            cpus=sizes.learner_threads,
            gpus=1.0 if gpu else 0.0,
            object_store_bytes=batches // workers,
            count=workers - 1,
            labels=labels,
        )
        needed.append(share)
    if shards > 1:
        shard = Bundle(
            REPLAY,
            memory_bytes=sizes.replay_bytes // shards,
            object_store_bytes=arriving + batches // shards,
            count=shards - 1,
            labels=labels,
            scaling_bytes=of_actor,
        )
        needed.append(shard)
    if a.inference == "central":
        # Where the learner has all GPUs, central inference shares the first worker's.
        own_gpu = inference_gpu and gpus > workers
        needed.append(Bundle(INFERENCE, cpus=sizes.inference_cpus, gpus=1.0 if own_gpu else 0.0, labels=labels))
    actor = Bundle(
        ACTOR,
        cpus=sizes.actor_cpus,
        object_store_bytes=chunks,
        count=sizes.actors,
        at_least=sizes.min_actors,
        labels=config.cluster.actor_labels,
    )
    return [*needed, actor]


def object_store_bytes(config: ApexConfig, sizes: Sizes) -> int:
    """Shared memory of an embedded Ray, where a chunk lies only once: all that can be in flight, twice."""
    chunks = sizes.actors * config.actors.groups * (config.actors.chunks_in_flight + 1) * sizes.chunk_bytes
    batches = (config.learner.prefetch_batches + 2) * sizes.batch_bytes
    return max(2 * (chunks + batches), MIN_OBJECT_STORE_BYTES)


def _settings(words: Sequence[str], more: Sequence[str] = ()) -> ApexConfig:
    """Of `apex-ray train WORDS`."""
    if not words or "=" in words[0]:
        raise UserError("command line: no preset; expected the words of apex-ray train, such as pong actors.count=64")
    return load(words[0], [*words[1:], *more]).config


def _needs(words: Sequence[str], cores: int | None, gpus: float, count: int | None = None) -> list[Bundle]:
    config = _settings(words, [f"actors.count={count}"] if count else [])
    return bundles(config, resolve_sizes(config, probed(config.env), cores), gpus)


def _expects(words: Sequence[str], cores: int | None, gpus: float, found: Fit, given: Sequence[str]) -> str:
    config, figures = _settings(words), measured(given)
    spec = probed(config.env)
    sizes = replace(resolve_sizes(config, spec, cores), actors=found.scaling.count)
    gpu = found.bundles[0].gpus > 0
    stores = sum(bundle.object_store_bytes * bundle.count for bundle in found.bundles)
    expected = estimate(config, spec, sizes, places(found, sizes), gpu, stores, figures)
    return in_words(expected, config, figures)


plan = Planner(_needs, _expects)


def places(found: Fit, sizes: Sizes) -> Places:
    """Where what was found a place for goes. What was not is on more nodes like the fullest but the learner's."""
    names = Counter(node.name for node in found.nodes)
    name = {node.id: node.name if names[node.name] == 1 else f"{node.name} {node.id}" for node in found.nodes}
    learner = next((name[node] for node in found.placed[LEARNER]), "the learner's node")
    shards = [learner, *(name[n] for n, count in found.placed.get(REPLAY, {}).items() for _ in range(count))]
    wanted = 1 + next((bundle.count for bundle in found.bundles if bundle.name == REPLAY), 0)
    shards += [learner] * (wanted - len(shards))
    actors = {name[node]: count for node, count in found.placed[ACTOR].items()}
    missing = sizes.actors - sum(actors.values())
    each = max((count for node, count in actors.items() if node != learner), default=max(missing, 1))
    more = -(-missing // each)
    gpus = {name[node.id] for node in found.nodes if node.total.get("GPU", 0.0)}
    actors |= {f"one more node {i}": min(each, missing - i * each) for i in range(more)}
    return Places(learner, shards, actors, gpus)


def probed(env: EnvConfig) -> EnvSpec:
    """Found once: the search for the largest count asks for many plans of the same environment."""
    key = env.model_dump_json()
    if key not in _SPECS:
        _SPECS[key] = probe(env)
    return _SPECS[key]
