"""What an objective puts after a transition: the best action's outputs, or those of Munchausen's soft policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from apex_ray.config.schema import TdConfig

if TYPE_CHECKING:
    from apex_ray.agent.q_learning import Transitions

Network = Callable[[Any], Tensor]  # to an objective: of states to [B, A, K]


class Following(NamedTuple):
    outputs: Tensor  # [B, K]: the target network's, in the bootstrap state
    returns: Tensor  # float [B]: n-step returns, and Munchausen's reward
    bonus: Tensor  # float [B], of the policy's entropy: to be added to the bootstrap state's value


def following(
    td: TdConfig, q_values: Callable[[Tensor], Tensor], online: Network, target: Network, t: Transitions
) -> Following:
    """The greedy action's outputs, chosen by the online network with `td.double_q` and by the target network without.

    With `td.munchausen` outputs are averaged over the policy softmax(q / temperature) of the target network, which
    chooses nothing (Vieillard et al. 2020, equation 5): the entropy's bonus is added to their value, and
    clip(munchausen * temperature * log policy(action)) of the first of the n steps to the return. Called where no
    gradients are wanted.
    """
    later = target(t.next_states)
    if td.munchausen is None:
        chooser = online(t.next_states) if td.double_q else later
        rows = torch.arange(len(later), device=later.device)
        chosen = later[rows, t.greedy(q_values(chooser))].to(t.returns.dtype)
        return Following(chosen, t.returns, torch.zeros_like(t.returns))
    heat = td.munchausen_temperature
    policy = torch.softmax(t.possible(q_values(later)).to(t.returns.dtype) / heat, dim=1)
    averaged = torch.einsum("ba,bak->bk", policy, later.to(t.returns.dtype))
    now = torch.log_softmax(t.possible_now(q_values(target(t.states))).to(t.returns.dtype) / heat, dim=1)
    taken = (td.munchausen * heat * now.gather(1, t.actions[:, None])[:, 0]).clamp(td.munchausen_clip, 0.0)
    return Following(averaged, t.returns + taken, heat * torch.special.entr(policy).sum(dim=1))
