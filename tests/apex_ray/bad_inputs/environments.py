"""Environments: what they give, raise and do to the process that they are in."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.apex_ray.bad_inputs import Row

ENVS = "tests.apex_ray.bad_inputs.envs"
ENDED = "stopping: stop.after_updates = 20"
OLD = "Gymnasium's form. For the old gym package"
NOT_IN_SPACE = "the observation is not in its space Box(0.0, 1e+06, (4,), float32) "


def of(fault: str, at: int, more: str = "", kind: str = "Bad") -> str:
    kwargs = f"'{{fault: {fault}, at: {at}}}'" if kind == "Bad" else f"'{{fault: {fault}}}'"
    return f"train small.yaml env.id=bad env.make={ENVS}:{kind} env.kwargs={kwargs} {more}"


def of_space(observation: str = "vector", action: str = "three", more: str = "") -> str:
    kwargs = f"'{{observation: {observation}, action: {action}}}'"
    return f"train small.yaml env.id=bad env.make={ENVS}:OfSpace env.kwargs={kwargs} {more}"


def of_mask(later: str) -> str:
    return f"train small.yaml env.id=bad env.make={ENVS}:Masked env.kwargs='{{later: {later}}}'"


def of_length(steps: int, more: str = "") -> str:
    return f"train small.yaml env.id=bad env.make={ENVS}:good env.kwargs='{{length: {steps}}}' {more}"


# What only shows while training: the ninth step of the two environments is step 4 of its episode.
LATE: dict[str, str | tuple[str, ...]] = {
    "nan reward": "at step 4 of its episode: the reward is nan",
    "inf reward": "the reward is -inf",
    "huge reward": "the reward is 1e+39; expected a finite number (within float32). It was not stored",
    "reward of text": "the reward is 'much'",
    "no reward": "the reward is None",
    "rewards": "the reward is array([1., 1.])",
    "nan observation": NOT_IN_SPACE + "(a value is not finite): float32 [4], 1 to 1, 1 not finite, the first at [1]",
    "inf observation": NOT_IN_SPACE + "(a value is not finite)",
    "another shape": ("at step 4 of its episode: " + NOT_IN_SPACE + "(another shape): float32 [3]"),
    "another rank": NOT_IN_SPACE + "(another shape): float32 [2, 2]",
    "too wide a dtype": NOT_IN_SPACE + "(a value is not finite): float64 [4], 1e+300",
    "complex numbers": NOT_IN_SPACE + "(it is no array of numbers): complex64 [4]",
    "ragged lists": NOT_IN_SPACE + "(it is no array of numbers)",
    "a dict": NOT_IN_SPACE + "(it is no array of numbers)",
    "no observation": NOT_IN_SPACE + "(it is no array of numbers)",
    "no end": "at step 4 of its episode: terminated is None; expected True or False",
    "an end of text": "truncated is 'False'; expected True or False",
    "no info": ("step() gave (ndarray, float, bool, bool, NoneType)", OLD),
    "raises": ("failed: RuntimeError: boom (", "envs.py:", "error.txt"),
    "raises lines": "failed: RuntimeError: boom (",
    "raises silently": "failed: RuntimeError (",
    "raises what has no message": "failed: UnspeakableError (",
    "runs out of memory": "failed: MemoryError: Unable to allocate 1.00 EiB",
    "recurses": "failed: RecursionError: maximum recursion depth exceeded",
    "exits": "environment 0 of bad called sys.exit(3) in step()",
    "exits with words": "environment 0 of bad called sys.exit('no licence') in step()",
}
# What the probe finds, in the first reset.
EARLY: dict[str, str | tuple[str, ...]] = {
    "nan observation": ("environment 0, from reset(): ", "not finite"),
    "another shape": "(another shape)",
    "no info": ("reset() gave (ndarray, NoneType)", OLD),
    "old form": ("reset() gave (ndarray, float, bool, dict)", OLD),
    "nothing": ("reset() gave NoneType", OLD),
    "raises": "env.id = 'bad' can't be used: RuntimeError: boom",
    "raises what has no message": "env.id = 'bad' can't be used: UnspeakableError",
    "exits": "environment 0 of bad called sys.exit(3) in reset()",
}
WHEN_MADE = {
    "raises": "env.id = 'bad' can't be used: RuntimeError: boom",
    "exits": "env.id = 'bad' called sys.exit(3) while it was made",
    "raises silently": "env.id = 'bad' can't be used: RuntimeError",
}


@contextmanager
def room_bytes(size: int = 30_000) -> Iterator[None]:
    """No file can grow beyond this meanwhile, which the kernel answers as it answers a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


ROWS = [
    *(Row(f"{fault}, late", of(fault, 9), says) for fault, says in LATE.items()),
    *(Row(f"{fault}, at reset", of(fault, 0), says) for fault, says in EARLY.items()),
    *(Row(f"{fault}, when made", of(fault, 0, kind="BadWhenMade"), says) for fault, says in WHEN_MADE.items()),
    Row("raises when made again", of("raises", 0, kind="BadWhenMadeAgain"), "failed: RuntimeError: boom ("),
    Row("old form of step", of("old form", 1), ("values to unpack", "For the old gym package")),
    # what is not there
    Row("an id that nobody knows", "train small.yaml env.id=CartPoel-v1", "Did you mean 'CartPole-v1'?"),
    Row("a game that is none", "train pong env.id=ALE/Pongg-v5", "Did you mean 'ALE/Pong-v5'?"),
    Row("a bare game", "train pong env.id=Pong", "Did you mean 'ALE/Pong-v5'?"),
    Row("a module that is nowhere", "train small.yaml env.import_modules=[no_such]", "no module 'no_such'"),
    Row("a maker that is nowhere", f"train small.yaml env.make={ENVS}:Badd", "Did you mean 'Bad'?"),
    Row("a maker of something else", f"train small.yaml env.make={ENVS}:no_environment", "gave dict; expected a gymn"),
    Row("a keyword that it has not", of("raises", 9, "env.kwargs.size=3"), ("can't be used: TypeError", "'size'")),
    # spaces
    Row("continuous actions", of_space(action="continuous"), ("has actions Box", "expected Discrete")),
    Row("no actions", of_space(action="none"), "action"),
    Row("observations of text", of_space("words"), "expected a Box of numbers"),
    Row("observations of any length", of_space("sequence"), "expected a Box of numbers"),
    Row("observations of nothing", of_space("empty"), "(0,)"),
    Row("no observation space", of_space("none"), "observation"),
    Row("pictures that are large", of_space("large picture", more="replay.capacity_transitions=2000000"), "at most"),
    Row("one action", of_space(action="one"), ENDED, 0),
    Row("a mask that allows nothing", of_mask("[0, 0, 0]"), ENDED, 0),
    Row("a mask of another length", of_mask("[1, 1]"), "action_mask"),
    # lengths
    Row("episodes of one step", of_length(1), ENDED, 0),
    Row("episodes that never end", of_length(10**9, "evaluation.final=true evaluation.max_s=0.3"), "no best", 0),
    # what an environment does to its process
    Row("prints a megabyte", of("prints a megabyte", 9), ENDED, 0),
    Row("forks", of("forks", 9), ENDED, 0, alone=True),
    Row("goes to another folder", of("changes the folder", 9), (ENDED, "run folder runs/"), 0),
    Row("goes there when made", of("changes the folder", 0), ("final checkpoint", "run folder runs/"), 0),
    Row(
        "is slow once",
        of("is slow once", 9, "env.step_limit_s=0.2"),
        ("has been in step() for", "stacks in ", "returned from"),
        0,
    ),
    Row(
        "hangs until Ctrl-C",
        of("hangs", 9, "env.step_limit_s=1"),
        ("environment 0 of bad had been in step() for", "when the run was asked to stop"),
        2,
        alone=True,
        interrupt_at="has been in step() for",
    ),
    Row("raises at its end", f"train small.yaml env.id=bad env.make={ENVS}:BadAtItsEnd", "boom in close()"),
    Row(
        "can't draw itself",
        f"train small.yaml env.id=bad env.make={ENVS}:Unseen evaluation.video=true",
        ("can't draw its pictures (", "no video of it"),
        0,
    ),
    Row(
        "finds a full disk", of_length(5, "network.hidden=2000"), "can't be written: File too large", within=room_bytes
    ),
    # in processes of their own
    Row(
        "its process ends",
        of("ends its process", 9, "env.processes=true"),
        "environment 0 of bad ended with exit code 3",
    ),
    Row(
        "its process hangs",
        of("hangs", 9, "env.processes=true env.step_limit_s=1"),
        "environment 0 of bad has been in step() for 1 s (env.step_limit_s) and was killed",
    ),
    Row("its process raises", of("raises", 9, "env.processes=true"), "boom"),
]
