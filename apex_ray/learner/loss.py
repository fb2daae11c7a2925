"""The dueling double DQN loss on a batch of n-step transitions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from apex_ray.td import td_target

QNet = Callable[[Tensor], Tensor]


def split_states(frames: Tensor, steps: Tensor, stack: int) -> tuple[Tensor, Tensor]:
    """The two observations in each sample's frames.

    Args:
        frames: [B, S + n, *F].
        steps: int64 [B], m: how many frames later the bootstrap state ends.
        stack: S.

    Returns:
        states frames[:, :S] and bootstrap states frames[b, m : m + S], both [B, S, *F].

    """
    positions = steps[:, None] + torch.arange(stack, device=frames.device)
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return frames[:, :stack], frames[rows, positions]


def td_errors(
    online: QNet,
    target: QNet,
    states: Tensor,
    actions: Tensor,
    returns: Tensor,
    discounts: Tensor,
    next_states: Tensor,
    double_q: bool,
) -> tuple[Tensor, Tensor]:
    """(target - Q(s, a), Q(s, a)), both float [B]; gradients flow through Q(s, a) only.

    Double Q-learning (van Hasselt et al. 2016, eq. 4): the online network chooses the next action, the target network
    values it. Without it the target network does both.
    """
    with torch.no_grad():
        values = target(next_states)
        choice = (online(next_states) if double_q else values).argmax(dim=1, keepdim=True)
        goal = td_target(returns, discounts, values.gather(1, choice)[:, 0].to(returns.dtype))
    taken = online(states).gather(1, actions[:, None])[:, 0].to(returns.dtype)
    return goal - taken, taken


def weighted_loss(errors: Tensor, weights: Tensor, huber_delta: float | None) -> Tensor:
    """Mean over the batch of w * loss(error): Huber with threshold delta, or half the square for None."""
    if huber_delta is None:
        losses = 0.5 * errors**2
    else:
        losses = functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=huber_delta)
    return (weights * losses).mean()
