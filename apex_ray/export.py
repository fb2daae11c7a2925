"""A run's network for other programs: ONNX, TorchScript, or weights as safetensors; checked on real observations."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from apex_ray import __version__
from apex_ray.agent.network import to_arrays
from apex_ray.config.plugins import settings_of
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.spaces import random_actions
from apex_ray.policy import Policy, load_policy
from apex_ray.types import AnyArray, EnvSpec, FloatArray
from trainkit.errors import UserError, optional
from trainkit.tensor_files import write

Format = Literal["onnx", "torchscript", "safetensors"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
TOLERANCE = 1e-5  # of values, relative to the largest
OUTPUT = "q_values"
CHECKED = 1000  # observations
ENVS = 8

# An exported network as a function: leaves [B, S, *F] in the order of the specification -> [B, A].
Model = Callable[[Sequence[AnyArray]], FloatArray]


class QFunction(nn.Module):
    """Leaves [B, S, *F], in the order of the specification -> float [B, A], -inf for illegal actions."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.network, self._policy = policy.network, policy

    def forward(self, *leaves: Tensor) -> Tensor:
        observations = dict(zip(self._policy.spec.observation, leaves, strict=True))
        return self._policy.agent.infer(self.network, observations, {})[0][OUTPUT]


def export_run(run: Path, checkpoint: str, kind: Format, out: Path) -> list[str]:
    """Write `out`, and beside it a JSON file that says what goes in and comes out; lines to tell.

    UserError for an agent whose values depend on more than an observation, where a library is missing, and where what
    was written gives other values than the run's own network. Where it fails, what stood there before stays.
    """
    policy = load_policy(run, checkpoint)
    if policy.initial_state(1) or OUTPUT not in policy.agent.outputs:
        raise UserError(f"{run}: agent {policy.config.agent!r} can't be exported: it has a state, or gives no {OUTPUT}")
    samples = real_observations(policy, CHECKED)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:  # on the same disk: moved at once, or not at all
        made = Path(folder) / out.name
        model = _WRITERS[kind](policy, samples, made)
        difference = _difference(policy, model, samples)
        if not difference <= TOLERANCE:
            raise UserError(f"{out}: values differ by {difference:.1e} of the largest from the run's; nothing is kept")
        made.replace(out)
    notes = out.with_suffix(".json")
    notes.write_text(json.dumps(description(policy.spec, policy.config), indent=1) + "\n")
    checked = f"{CHECKED:,} real observations: values differ by at most {difference:.1e} of the largest"
    return [f"{out}: {checked}", f"{notes}: what goes in, what comes out, and how observations are made"]


def real_observations(policy: Policy, count: int) -> list[AnyArray]:
    """By leaf [count, S, *F]: from the run's own environment, half of its actions random."""
    rng = np.random.default_rng(0)
    seen: dict[str, list[AnyArray]] = {name: [] for name in policy.spec.observation}
    with closing(policy.make_envs(ENVS)) as envs:
        observations = envs.reset(0)
        for _ in range(-(-count // envs.num_envs)):
            for name, array in observations.items():
                seen[name].append(np.array(array))
            chosen, _ = policy.act(observations, {})
            drawn = random_actions(policy.spec, rng, observations)
            explores = (rng.random(len(chosen)) < 0.5).reshape(-1, *(1 for _ in policy.spec.action_shape))
            envs.send(np.where(explores, drawn, chosen))
            observations = envs.recv().observations
    return [np.concatenate(arrays)[:count] for arrays in seen.values()]


def description(spec: EnvSpec, config: ApexConfig) -> dict[str, Any]:
    """What a program that uses the file must know."""
    env = config.env.model_dump(mode="json") | {"kwargs": settings_of(config.env)}
    return {
        "versions": {"apex_ray": __version__, "torch": torch.__version__},
        "environment": spec.env_id,
        "inputs": {
            name: {**asdict(leaf), "array": ["batch", leaf.stack, *leaf.shape]}
            for name, leaf in spec.observation.items()
        },
        "output": {"name": OUTPUT, "array": ["batch", spec.num_actions], "branches": spec.branches},
        "notes": [
            "Give arrays of the dtypes of the inputs: what is to be scaled is scaled inside.",
            "stack: the newest frames, newest last; zeros stand before an episode's first.",
            "Images have their colours first. A choice is counted from 0.",
            "The action is the output's largest, of each branch; illegal actions are -inf.",
            "env: how the run's environments made their frames (frame skip, gray, size, sticky actions).",
        ],
        "env": env,
        "agent": config.agent,
        "network": config.network.model_dump(mode="json"),  # by which the weights alone are built into one again
    }


def _difference(policy: Policy, model: Model, samples: list[AnyArray]) -> float:
    """Largest difference from the policy's own values, relative to the largest of these; inf where masks differ."""
    expected, found = policy.q_values(dict(zip(policy.spec.observation, samples, strict=True))), model(samples)
    if found.shape != expected.shape or not np.array_equal(np.isneginf(found), np.isneginf(expected)):
        return float("inf")
    there = ~np.isneginf(expected)
    return float(np.abs(found[there] - expected[there]).max() / max(np.abs(expected[there]).max(), 1e-9))


def _tensors(samples: list[AnyArray], count: int | None = None) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array[:count]) for array in samples)


def _onnx(policy: Policy, samples: list[AnyArray], out: Path) -> Model:
    for used_by_torch in ("onnx", "onnxscript"):
        optional(used_by_torch)
    onnxruntime = optional("onnxruntime")
    names = list(policy.spec.observation)
    torch.onnx.export(
        QFunction(policy).eval(),
        _tensors(samples, 2),
        str(out),
        input_names=names,
        output_names=[OUTPUT],
        dynamic_shapes=(({0: torch.export.Dim("batch")},) * len(names),),  # of forward(*leaves)
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])

    def model(leaves: Sequence[AnyArray]) -> FloatArray:
        values: FloatArray = session.run([OUTPUT], dict(zip(names, leaves, strict=True)))[0]
        return values

    return model


def _torchscript(policy: Policy, samples: list[AnyArray], out: Path) -> Model:
    with torch.no_grad():
        torch.jit.trace(QFunction(policy).eval(), _tensors(samples, 2)).save(str(out))  # type: ignore[no-untyped-call]
    loaded = torch.jit.load(str(out))  # type: ignore[no-untyped-call]

    def model(leaves: Sequence[AnyArray]) -> FloatArray:
        with torch.inference_mode():
            values: FloatArray = loaded(*_tensors(list(leaves))).numpy()
        return values

    return model


def _safetensors(policy: Policy, samples: list[AnyArray], out: Path) -> Model:
    from safetensors.numpy import load_file

    write({name: torch.from_numpy(array) for name, array in to_arrays(policy.network).items()}, out)
    again = Policy(policy.spec, policy.config, load_file(out))
    return lambda leaves: again.q_values(dict(zip(policy.spec.observation, leaves, strict=True)))


_WRITERS: dict[Format, Callable[[Policy, list[AnyArray], Path], Model]] = {
    "onnx": _onnx,
    "torchscript": _torchscript,
    "safetensors": _safetensors,
}
