"""Files: presets, run folders and checkpoints that are damaged, foreign, of the future or nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.learner.checkpoint import save_best, save_checkpoint
from apex_ray.learner.learner import Learner
from apex_ray.types import Counters, EnvSpec
from tests.apex_ray.bad_inputs import Row
from trainkit.config import to_yaml
from trainkit.manifest import seal
from trainkit.runs import create_run

SPEC = EnvSpec.of_frames("CartPole-v1", (4,), "float32", 1, 2, 1)
OLDER, NEWER = "update-000000010", "update-000000020"


def a_run(*overrides: str) -> Path:
    """A run in runs/ with two checkpoints and a best one."""
    config = load("small.yaml", overrides).config
    run = create_run("runs", "cartpole", to_yaml(config))
    state = Learner(build_agent(config, SPEC), config).state()
    for updates in (10, 20):
        save_checkpoint(run, Counters(updates=updates, frames=100, time_s=5.0), *state, keep=2)
    save_best(run, Counters(updates=10, best_return=9.0), state[0])
    return run


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"\x80\x04garbage")


def nan(path: Path) -> None:
    save_file({name: np.full_like(array, np.nan) for name, array in load_file(path).items()}, path)
    seal(path.parent)


def of_another_network(path: Path) -> None:
    save_file({"theirs": np.zeros((3, 3), np.float32)}, path)
    seal(path.parent)


def pickled(path: Path) -> None:
    """As other programs write checkpoints: it is not to be unpickled."""
    torch.save({"model": torch.zeros(3)}, path)
    seal(path.parent)


def of_the_future(path: Path) -> None:
    """A later version counts something more."""
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokens": 7}))
    seal(path.parent)


def spoilt(how: Callable[[Path], object], *files: str) -> Callable[[], object]:
    """A run, `how` done to these files of it; in names * stands for anything."""

    def make() -> None:
        run = a_run()
        for pattern in files:
            found = list(run.glob(pattern))
            assert found, pattern
            for path in found:
                how(path)

    return make


def rewritten(name: str, content: bytes) -> Callable[[], object]:
    """A run whose file `name` holds that."""
    return lambda: written(str(a_run() / name), content)


def written(name: str, content: bytes) -> object:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(content)


def of_another_trainer() -> None:
    (a_run() / "run.json").write_text('{"trainer": "apex-lstm", "starts": []}')


def without_a_checkpoint() -> None:
    create_run("runs", "cartpole", to_yaml(load("small.yaml").config))


GO_ON = "train --resume latest stop.after_updates=30"
WENT_ON = "stopping: stop.after_updates = 30"
YAML = {
    "an empty file": (b"", "the file is empty"),
    "a file of tabs": (b"env:\n\tid: x\n", "mine.yaml:2: not valid YAML"),
    "a file of bytes": (b"\xff\xfe\x00", "not UTF-8"),
    "a list": (b"- 1\n", "expected a mapping"),
    "an unknown key": (b"env: {id: CartPole-v1}\nlerner: {batch_size: 3}\n", "Did you mean 'learner'?"),
    "a key twice": (b"env: {id: CartPole-v1}\nseed: 1\nseed: 2\n", "'seed' is set twice"),
    "a preset that extends itself": (b"extends: mine.yaml\n", "goes in a circle"),
    "a preset without an environment": (b"seed: 1\n", "env.id is not set"),
    "a control character": (b"name: caf\x07e\nenv: {id: CartPole-v1}\n", "mine.yaml:1: not valid YAML"),
}
NONE = "no checkpoint can be used to go on from: "
ROWS = [
    *(Row(n, "train mine.yaml", says, before=partial(written, "mine.yaml", b)) for n, (b, says) in YAML.items()),
    Row("a folder for a preset", "train runs.yaml", "is a folder", before=partial(written, "runs.yaml/x", b"")),
    # run folders
    Row("a run that is not there", "train --resume runs/nowhere", ("does not exist", "holds no runs")),
    Row("one to go on with", "train --resume runs/cartpol-1", "Did you mean 'runs/cartpole-", before=a_run),
    Row("one to film", "record runs/cartpol-1", "Did you mean 'runs/cartpole-", before=a_run),
    Row("a name that is nearly a run's", "evaluate runs/cartpol-1", "Did you mean 'runs/cartpole-", before=a_run),
    Row("a folder that is no run", "evaluate runs", "no run folder", before=a_run),
    Row("a file for a run", "evaluate small.yaml", "is a file"),
    Row("a run of another trainer", "evaluate latest", "holds no runs", before=of_another_trainer),
    Row("a run without a checkpoint", "train --resume latest", "no checkpoint", before=without_a_checkpoint),
    Row("a run to evaluate without one", "evaluate latest", "no checkpoint", before=without_a_checkpoint),
    Row("settings that are damaged", GO_ON, "config.yaml", before=rewritten("config.yaml", b"\x00\x01")),
    Row(
        "settings of a later version",
        GO_ON,
        "unknown key 'brain'",
        before=rewritten("config.yaml", b"env: {id: CartPole-v1}\nbrain: {size: 3}\n"),
    ),
    Row(
        "a replay that is damaged",
        GO_ON,
        ("replay starts empty: ", WENT_ON),
        0,
        before=rewritten("replay/shard-0/manifest.json", b"{"),
    ),
    Row(
        "a replay of an earlier version",
        GO_ON,
        ("replay-0.safetensors is of an earlier version", WENT_ON),
        0,
        before=rewritten("replay-0.safetensors", b"x"),
    ),
    Row("a state that is damaged", GO_ON, WENT_ON, 0, before=rewritten("serial.safetensors", b"x")),
    Row("a record that is damaged", GO_ON, WENT_ON, 0, before=rewritten("run.json", b"{")),
    Row("a record of lists", GO_ON, WENT_ON, 0, before=rewritten("run.json", b'{"starts": 3}')),
    Row("metrics with half a line", GO_ON, WENT_ON, 0, before=rewritten("metrics.jsonl", b'{"updates": 3, "fra')),
    Row("metrics that are damaged", GO_ON, WENT_ON, 0, before=rewritten("metrics.jsonl", b"\xff\x00\n[]\n3\n")),
    Row("evaluations that are damaged", GO_ON, WENT_ON, 0, before=rewritten("evaluations.csv", b"\xff,\x00\n")),
    Row("a list of resumes that is damaged", GO_ON, WENT_ON, 0, before=rewritten("resumes.jsonl", b"\xff\n")),
    Row("memory that is damaged", "plot latest", (), 0, before=rewritten("memory.csv", b"\xff\n1,2")),
    Row("metrics to plot that are damaged", "plot latest", (), 0, before=rewritten("metrics.jsonl", b"\xff\n[]\n{")),
    Row(
        "metrics to look into that are damaged",
        "doctor latest",
        "nothing was learned yet",
        before=rewritten("metrics.jsonl", b"[]\n{"),
    ),
    Row("a record to list that is damaged", "runs", "cartpole-", 0, before=rewritten("run.json", b"[")),
    Row("a folder to list that is not there", "runs nowhere", "nowhere"),
    # checkpoints
    Row(
        "the newest checkpoint is cut off",
        GO_ON,
        (f"{NEWER} can't be used, kept as damaged-{NEWER}", WENT_ON),
        0,
        before=spoilt(cut, f"checkpoints/{NEWER}/online.safetensors"),
    ),
    Row(
        "its manifest is missing",
        GO_ON,
        (f"going on from {OLDER}", WENT_ON),
        0,
        before=spoilt(Path.unlink, f"checkpoints/{NEWER}/manifest.json"),
    ),
    Row(
        "it is of a later version",
        GO_ON,
        ("counters.json does not hold", f"going on from {OLDER}", WENT_ON),
        0,
        before=spoilt(of_the_future, f"checkpoints/{NEWER}/counters.json"),
    ),
    Row(
        "it holds NaN",
        GO_ON,
        ("is not finite", f"going on from {OLDER}", WENT_ON),
        0,
        before=spoilt(nan, f"checkpoints/{NEWER}/online.safetensors"),
    ),
    Row(
        "it is pickled",
        GO_ON,
        (f"going on from {OLDER}", WENT_ON),
        0,
        before=spoilt(pickled, f"checkpoints/{NEWER}/online.safetensors"),
    ),
    Row("all are pickled", GO_ON, NONE, before=spoilt(pickled, "checkpoints/update-*/target.safetensors")),
    Row("all are of a later version", GO_ON, NONE, before=spoilt(of_the_future, "checkpoints/update-*/counters.json")),
    *(
        Row(
            f"{what} of every checkpoint {done}",
            GO_ON,
            (NONE, f"{NEWER}: {what} ", f"{OLDER}: {what} "),
            before=spoilt(how, f"checkpoints/update-*/{what}"),
        )
        for what in ("online.safetensors", "optimizer.safetensors", "counters.json", "manifest.json")
        for done, how in {"is cut off": cut, "is missing": Path.unlink, "is garbage": garbage}.items()
    ),
    Row(
        "a checkpoint of another network",
        GO_ON,
        "does not fit the configured network",
        before=spoilt(of_another_network, "checkpoints/update-*/online.safetensors"),
    ),
    Row(
        "the best is damaged",
        "evaluate latest",
        ("best is damaged (online.safetensors is not as it was written", f"the others are {OLDER}, {NEWER}"),
        before=spoilt(cut, "checkpoints/best/online.safetensors"),
    ),
    Row(
        "the best is pickled",
        "evaluate latest",
        "best",
        before=spoilt(pickled, "checkpoints/best/online.safetensors"),
    ),
    Row(
        "the best is of another network",
        "evaluate latest",
        "does not fit the configured network",
        before=spoilt(of_another_network, "checkpoints/best/online.safetensors"),
    ),
    Row(
        "a checkpoint that is not there",
        "evaluate latest --checkpoint update-000000030",
        f"expected one of best, latest, {OLDER}, {NEWER}",
        before=a_run,
    ),
    Row("another network to evaluate", "evaluate latest network.hidden=7", "does not fit the configured", before=a_run),
    Row("weights to begin with that are nowhere", "train small.yaml learner.init_from=nowhere", "learner.init_from: "),
    Row(
        "weights to begin with that do not fit",
        "train small.yaml network.mlp_layers=[9] learner.init_from=latest",
        ("learner.init_from: no layer of torso", "fits this network"),
        before=a_run,
    ),
    # where to write
    Row("a runs folder that can't be", "train small.yaml runs_dir=/proc/x", ("/proc/x", "cannot be written")),
    Row("a file for a runs folder", "train small.yaml runs_dir=small.yaml", "'small.yaml' cannot be written"),
    Row("a base that is not absolute", "train small.yaml", "APEX_RUNS_DIR = 'here'", environ={"APEX_RUNS_DIR": "here"}),
    Row(
        "a video where nothing can be",
        "record latest --out /proc/x/film.mp4",
        ("--out", "can't be written"),
        before=a_run,
    ),
    Row("a path that is no ASCII", "train small.yaml 'runs_dir=läufe 走る'", "läufe 走る/cartpole-", 0),
    Row("a name that is no ASCII", "train small.yaml 'name=läufe/../走る'", "runs/l-ufe-", 0),
]
