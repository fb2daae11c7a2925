"""A run's policy as an RLModule, for programs that ask one what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from apex_ray.agent.build import build_agent
from apex_ray.agent.exploration import epsilon_ladder
from apex_ray.agent.network import from_arrays, new_network, to_arrays
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.make import probe
from apex_ray.learner.checkpoint import load_policy_weights
from apex_ray.policy import Policy
from apex_ray.rllib import folders
from apex_ray.tuning import saved
from apex_ray.types import FRAMES, AnyArray, EnvSpec, Leaf
from trainkit.errors import UserError

OF_RLLIB = "learner_group/learner/rl_module/default_policy"
QF_PREDS = "qf_preds"  # RLlib's name of Q-values
RUNGS = 256  # of the ladder of epsilons to draw from: the paper's number of actors
SURE = 1e9  # by which the chosen action's logit is above the others: drawing from them gives it, too


class ApexModule(TorchRLModule):  # type: ignore[misc]
    """Acts as `load_policy(run)` does; it does not learn, which is the run's.

    `obs` is [B, ...] as the environment gives it, nested as its space is, tensors or arrays; with a stack of S frames
    [B, S, *F], as `Policy` says. UserError for any other.
    """

    def setup(self) -> None:
        """Of model_config: `settings`, all of a run's, and `spec`, its EnvSpec."""
        given = cast(Mapping[str, Any], self.model_config)
        settings = ApexConfig.model_validate(given["settings"])
        untrained = to_arrays(new_network(build_agent(settings, given["spec"]), settings.seed))
        self.policy = Policy(given["spec"], settings, untrained)
        self.network = self.policy.network  # its parameters are this module's
        a = settings.actors
        self._ladder = epsilon_ladder(RUNGS, a.epsilon_base, a.epsilon_alpha)
        self._rng = np.random.default_rng(settings.seed)

    @classmethod
    def from_checkpoint(cls, path: Any, filesystem: Any = None, **kwargs: Any) -> ApexModule:
        """The module of a checkpoint of ApexDQN's, or of Tune's with one in it. Nothing is unpickled.

        `path` is its folder, or the one below it where RLlib's own algorithms keep their module.
        """
        if not isinstance(path, str | Path):  # a Checkpoint of Ray Tune's or Train's
            path, filesystem = path.path, path.filesystem
        path = str(path).removesuffix("/").removesuffix(f"/{OF_RLLIB}")
        with folders.to_read(path, filesystem) as folder:
            settings = saved.settings(folder)
            return module_of(settings, probe(settings.env), load_policy_weights(folder, "latest")[0])

    def get_initial_state(self) -> dict[str, AnyArray]:
        """Of one environment whose episode begins; {} for a network without a memory."""
        return {name: array[0] for name, array in self.policy.initial_state(1).items()}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        raise UserError("this module has no forward_train: the run learns; expected forward_inference")

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The greedy `actions`, their `action_dist_inputs`, and `qf_preds` where the agent has Q-values.

        With a memory, `state_in` is [B, ...] by name, and `state_out` that after this step.
        """
        return self._act(batch, lambda count: np.zeros(count, np.float32))

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """As `_forward_inference`; each row explores as one of the run's environments does, drawn from the ladder."""
        return self._act(batch, lambda count: self._rng.choice(self._ladder, count).astype(np.float32))

    def _act(self, batch: dict[str, Any], epsilons: Any) -> dict[str, Any]:
        policy = self.policy
        leaves, alone = policy.batch(_arrays(batch[Columns.OBS]))
        if alone:
            raise UserError("obs is one observation alone; expected a batch [B, ...], of one with B = 1")
        state = policy.initial_state(len(next(iter(leaves.values()))))
        if state and Columns.STATE_IN in batch:
            state = _arrays(batch[Columns.STATE_IN])
        outputs, after = policy.infer(leaves, state)
        count = len(next(iter(leaves.values())))
        chosen = torch.from_numpy(policy.agent.choose(outputs, epsilons(count), self._rng))
        # What the action brings is not known here: to a memory it brings nothing.
        after = policy.next_state(after, chosen.numpy(), np.zeros(count, np.float32), np.zeros(count, bool))
        found: dict[str, Any] = {Columns.ACTIONS: chosen, Columns.ACTION_DIST_INPUTS: self._sure_of(chosen)}
        if "q_values" in outputs:
            found[QF_PREDS] = torch.from_numpy(np.array(outputs["q_values"]))
        if after:
            found[Columns.STATE_OUT] = {name: torch.from_numpy(np.array(array)) for name, array in after.items()}
        return found

    def _sure_of(self, actions: Tensor) -> Tensor:
        """Logits [B, A] of categorical distributions, one a branch, that draw these actions [B] or [B, K]."""
        branches = self.policy.spec.branches
        columns = actions.reshape(len(actions), -1).unbind(1)
        hot = [torch.nn.functional.one_hot(a, n) for a, n in zip(columns, branches, strict=True)]
        return (torch.cat(hot, 1).to(torch.float32) - 1) * SURE


def module_of(config: ApexConfig, spec: EnvSpec, params: Mapping[str, AnyArray]) -> ApexModule:
    """The module of a network with these parameters."""
    module = ApexModule(
        observation_space=observation_space(spec),
        action_space=action_space(spec),
        inference_only=True,
        model_config={"settings": config.model_dump(mode="json"), "spec": spec},
    )
    from_arrays(module.network, params)
    return module


def action_space(spec: EnvSpec) -> spaces.Space[Any]:
    """Of one environment: a number, or one for each branch."""
    return spaces.Discrete(spec.branches[0]) if len(spec.branches) == 1 else spaces.MultiDiscrete(list(spec.branches))


def observation_space(spec: EnvSpec) -> spaces.Space[Any]:
    """What a row of `obs` is: an array, or where there are several leaves, these by name."""
    if list(spec.observation) == [FRAMES]:
        return _box(spec.observation[FRAMES])
    return spaces.Dict({name: _box(leaf) for name, leaf in spec.observation.items()})


def _box(leaf: Leaf) -> spaces.Box:
    """Of its stack of frames; a stack of one is the frame itself. Bytes have bounds, what else has any is not known."""
    shape, dtype = (leaf.shape if leaf.stack == 1 else (leaf.stack, *leaf.shape)), np.dtype(leaf.dtype)
    low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return spaces.Box(low, high, shape, dtype.type)


def _arrays(given: Any) -> Any:
    if isinstance(given, Mapping):
        return {name: _arrays(part) for name, part in given.items()}
    if isinstance(given, tuple):
        return tuple(_arrays(part) for part in given)
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else given
