"""The serial run: bit-identical with a seed, and nothing lost or doubled on the way to the learner."""

import numpy as np
import pytest

from apex_ray.envs.make import probe
from apex_ray.serial import SerialProgram
from apex_ray.sizes import resolve_sizes
from tests.apex_ray.runs import cartpole


def run(config, steps, tmp_path):
    spec = probe(config.env)
    program = SerialProgram(config, spec, resolve_sizes(config, spec), tmp_path)
    chunks, batches = [], []
    insert, sample = program.insert, program.sample

    def watch_insert(chunk):
        chunks.append((chunk.actor, chunk.sequence, chunk.frames.copy(), chunk.returns, chunk.priorities))
        insert(chunk)

    def watch_sample():
        batches.append(sample())
        return batches[-1]

    program.insert, program.sample = watch_insert, watch_sample
    program.start(resume=False)
    for _ in range(steps):
        program.step()
    return program, chunks, batches


def test_one_seed_gives_one_run_bit_for_bit(tmp_path):
    first, second, other = (run(cartpole(seed=seed), 150, tmp_path) for seed in (3, 3, 4))
    assert len(first[2]) > 50, "the learner never ran"
    for a, b in zip(first[1], second[1], strict=True):
        assert a[:2] == b[:2]
        for x, y in zip(a[2:], b[2:], strict=True):
            np.testing.assert_array_equal(x, y)
    for a, b in zip(first[2], second[2], strict=True):
        for x, y in zip(vars(a).values(), vars(b).values(), strict=True):
            np.testing.assert_array_equal(x, y)
    mine, same, different = (p.row() and p._learner.state()[0] for p, _, _ in (first, second, other))
    assert all(np.array_equal(mine[k], same[k]) for k in mine)
    assert not all(np.array_equal(mine[k], different[k]) for k in mine)


def test_samples_per_insert_is_what_was_asked(tmp_path):
    program, _, _ = run(cartpole(), 300, tmp_path)
    # the tolerance allows a lead of a chunk or two of the transitions inserted
    assert program.row()["replay_ratio"] == pytest.approx(4.0, rel=0.1)


def test_actors_use_newer_and_newer_weights(tmp_path):
    config = cartpole()
    spec = probe(config.env)
    program = SerialProgram(config, spec, resolve_sizes(config, spec), tmp_path)
    program.start(resume=False)
    versions = []
    for _ in range(150):
        program.step()
        versions.append([a.version for a in program._actors])
    assert (np.diff(versions, axis=0) >= 0).all() and min(versions[-1]) > 100


def test_resuming_goes_on_from_the_checkpoint(tmp_path):
    program, _, _ = run(cartpole(), 120, tmp_path)
    row = program.row()
    from dataclasses import replace

    counters = replace(program.counters, frames=int(row["frames"]), episodes=7, time_s=12.5, generation=1)
    path, updates = program.save(counters)
    assert path.name == f"update-{updates:09d}" and updates == program._learner.updates
    spec = probe(cartpole().env)
    again = SerialProgram(cartpole(), spec, resolve_sizes(cartpole(), spec), tmp_path)
    again.start(resume=True)
    assert again.counters.updates == updates and again.counters.episodes == 7 and again.counters.time_s == 12.5
    a, b = program._learner.state(), again._learner.state()
    for x, y in zip(a[:2], b[:2], strict=True):
        assert all(np.array_equal(x[k], y[k]) for k in x)
    again.step()
    first = again._actors[0]._observations
    fresh = SerialProgram(cartpole(), spec, resolve_sizes(cartpole(), spec), tmp_path)
    fresh.start(resume=False)
    fresh.step()
    assert not np.array_equal(first, fresh._actors[0]._observations), "a resumed run must not replay the same episodes"
