"""The serial run: bit-identical with a seed, and nothing lost or doubled on the way to the learner."""

import gymnasium
import numpy as np
import pytest

from apex_ray.envs.make import probe
from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.run.training import train
from apex_ray.serial.program import SerialProgram
from apex_ray.sizes import resolve_sizes
from tests.apex_ray.runs import assert_same_batch, cartpole, remembers
from trainkit.config import to_yaml
from trainkit.runs import create_run


def steps(program, count):
    """That many steps of every actor, and the updates that they allow."""
    actor = program._actors[0]
    until = actor.steps + count * len(actor._returns)
    while actor.steps < until or program._limiter.samples_allowed >= program._limiter.sampled + 16:
        program.work()


def run(config, count, tmp_path):
    spec = probe(config.env)
    program = SerialProgram(config, spec, resolve_sizes(config, spec), tmp_path)
    chunks, batches = [], []
    insert, sample = program.insert, program.sample

    def watch_insert(chunk):
        kept = {name: array.copy() for name, array in chunk.fields.items()}
        chunks.append((chunk.actor, chunk.sequence, kept["frames"], kept["returns"], chunk.priorities))
        insert(chunk)

    def watch_sample():
        batches.append(sample())
        return batches[-1]

    program.insert, program.sample = watch_insert, watch_sample
    program.start(resume=False)
    steps(program, count)
    return program, chunks, batches


def test_one_seed_gives_one_run_bit_for_bit(tmp_path):
    first, second, other = (run(cartpole(seed=seed), 150, tmp_path) for seed in (3, 3, 4))
    assert len(first[2]) > 50, "the learner never ran"
    for a, b in zip(first[1], second[1], strict=True):
        assert a[:2] == b[:2]
        for x, y in zip(a[2:], b[2:], strict=True):
            np.testing.assert_array_equal(x, y)
    for a, b in zip(first[2], second[2], strict=True):
        assert_same_batch(a, b)
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
        steps(program, 1)
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
    steps(again, 1)
    first = again._actors[0]._observations["frames"]
    fresh = SerialProgram(cartpole(), spec, resolve_sizes(cartpole(), spec), tmp_path)
    fresh.start(resume=False)
    steps(fresh, 1)
    assert not np.array_equal(first, fresh._actors[0]._observations["frames"]), (
        "a resumed run must not replay the same episodes"
    )


def trained(config, folder, resume=False):
    """The run that `train` leaves, its limits and its end included."""
    outcome = train(config, folder, resume) if resume else train(config, create_run(folder, "a", to_yaml(config)))
    return load_checkpoint(outcome.run)


def assert_same(a, b):
    assert (a.counters.updates, a.counters.frames) == (b.counters.updates, b.counters.frames)
    for mine, theirs in ((a.online, b.online), (a.target, b.target)):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[k], theirs[k]) for k in mine)


def limited(updates=None, frames=None, **sections):
    stop = {"after_updates": updates, "after_frames": frames}
    return cartpole(mode="serial", stop=stop, evaluation={"final": False}, **sections)


def test_limits_are_met_to_the_update_and_to_the_step(tmp_path):
    """Looked at once a second, `stop.after_updates = 400` ended at 444 or 652, as the machine had time."""
    assert trained(limited(updates=137), tmp_path / "u").counters.updates == 137
    frames = trained(limited(frames=999), tmp_path / "f").counters.frames
    assert frames == 1002, "two actors of three environments take six steps at a time"


PONG = {
    "env": {"id": "ALE/Pong-v5", "frame_stack": 2, "sticky_actions": 0.25},
    "network": {"hidden": 16},
    "replay": {"min_transitions": 64, "samples_per_insert": 1.0, "capacity_transitions": 1000},
}


@pytest.mark.parametrize(
    ("sections", "stop", "end"),
    [
        ({}, 41, 90),
        ({"actors": {"count": 6}}, 5, 90),
        ({"td": {"n_step": 3}} | PONG, 5, 12),
        (remembers("lstm"), 11, 30),
        (remembers("wavenet"), 11, 30),
    ],
    ids=["cartpole", "many actors insert at once, beyond the limit's bounds", "pong", "lstm", "wavenet"],
)
def test_a_resumed_run_is_bit_for_bit_the_one_without_a_stop(tmp_path, sections, stop, end):
    whole = trained(limited(updates=end, **sections), tmp_path / "whole")
    part = trained(limited(updates=stop, **sections), tmp_path / "parts")
    assert part.counters.updates == stop
    run = part.path.parents[1]
    trained(limited(updates=stop + 2, **sections), run, resume=True)
    assert_same(whole, trained(limited(updates=end, **sections), run, resume=True))


def gone_on(config, run):
    """A program that goes on from `run`, and what it said before the first step."""
    spec, said = probe(config.env), []
    program = SerialProgram(config, spec, resolve_sizes(config, spec), run, said.append)
    program.start(resume=True)
    return program, said


def test_what_is_played_again_is_said_while_it_lasts(tmp_path):
    run = trained(limited(updates=40), tmp_path).path.parents[1]
    program, said = gone_on(limited(report={"line_every_s": 1e-9}), run)
    steps = sum(actor.steps for actor in program._actors)
    assert said[0] == f"to be where the run stopped, its {steps:,} steps are played again"
    assert said[1] == f"3 of {steps:,} steps played again" and said[-1] == f"{steps:,} of {steps:,} steps played again"
    assert len(gone_on(limited(), run)[1]) == 1, "a line now and then"


@pytest.mark.parametrize(
    ("actors", "told"),
    [
        ({"count": 3}, "actors.count was 2 and is 3"),
        ({"groups": 3}, "actors.groups was 1 and is 3"),
        ({"envs_per_actor": 4}, "the number of environments differs"),
    ],
)
def test_other_actors_than_those_that_stopped_begin_new_episodes(tmp_path, actors, told):
    run = trained(limited(updates=40), tmp_path).path.parents[1]
    program, said = gone_on(limited(actors=actors), run)
    assert said[-1] == f"new episodes begin, so this is not bit for bit the run without a stop: {told}"
    assert not any("steps played again" in line for line in said) and not sum(a.steps for a in program._actors)
    steps(program, 5)


def test_a_resumed_run_whose_replay_was_not_saved_says_so(tmp_path, capsys):
    config = {"checkpoint": {"replay": False}}
    part = trained(limited(updates=40, **config), tmp_path)
    trained(limited(updates=60, **config), part.path.parents[1], resume=True)
    assert "replay starts empty" in capsys.readouterr().out


def test_a_replay_of_an_older_checkpoint_goes_on_with_new_episodes(tmp_path, capsys):
    """A run that was killed between a checkpoint and its snapshot, or was resumed without one."""
    run = trained(limited(updates=40), tmp_path).path.parents[1]
    trained(limited(updates=50, checkpoint={"replay": False}), run, resume=True)
    trained(limited(updates=60), run, resume=True)
    out = capsys.readouterr().out
    assert "this is not bit for bit the run without a stop: serial.safetensors: it is of update 40" in out
    assert "replay goes on with 330 transitions as of update 40" in out


def test_stop_limits_count_inside_long_rows_of_updates(tmp_path):
    """A thousand samples an insert: the rows of updates are longer than the run."""
    config = limited(
        replay={"samples_per_insert": 1000.0, "min_transitions": 64}, report={"every_s": 0.1}, learner={"batch_size": 1}
    )
    config = config.model_copy(update={"stop": config.stop.model_copy(update={"after_s": 2.0})})
    assert trained(config, tmp_path).counters.time_s < 30


class Watched(gymnasium.Wrapper):
    """CartPole that is counted until it is closed."""

    open = 0

    def __init__(self):
        super().__init__(gymnasium.make("CartPole-v1"))
        Watched.open += 1

    def close(self):
        Watched.open -= 1
        super().close()


def test_a_run_closes_all_environments_that_it_made(tmp_path):
    train(cartpole(mode="serial", stop={"after_updates": 3}, runs_dir=str(tmp_path)), make_env=Watched)
    assert Watched.open == 0
