"""Centred RMSProp with epsilon inside the square root, as Ape-X uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class CentredRMSProp(torch.optim.Optimizer):
    """Of each gradient g, with running means m of g and v of g^2 that both start at 0:

        m <- decay m + (1 - decay) g;  v <- decay v + (1 - decay) g^2;  p <- p - rate g / sqrt(v - m^2 + epsilon)

    Graves 2013 (arXiv 1308.0850, equations 38 to 41) without momentum; Horgan et al. 2018, appendix D; optax.rmsprop
    with centered=True. torch.optim.RMSprop adds epsilon outside of the root, where it is as good as none: the smallest
    denominator is then 1.5e-7 instead of sqrt(1.5e-7) = 3.9e-4.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, decay: float, epsilon: float) -> None:
        super().__init__(parameters, {"lr": rate, "decay": decay, "eps": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of every parameter that has a gradient. All work stays on the device. Returns None."""
        assert closure is None, "one gradient, one step"
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            for p in parameters:
                if not self.state[p]:
                    self.state[p] = {"mean": torch.zeros_like(p), "mean_square": torch.zeros_like(p)}
            gradients = [p.grad for p in parameters]
            means, squares = ([self.state[p][name] for p in parameters] for name in ("mean", "mean_square"))
            share = 1 - group["decay"]
            torch._foreach_lerp_(means, gradients, share)
            torch._foreach_mul_(squares, group["decay"])
            torch._foreach_addcmul_(squares, gradients, gradients, share)
            roots = torch._foreach_addcmul(squares, means, means, -1.0)
            torch._foreach_clamp_min_(roots, 0.0)  # rounding leaves a constant gradient's variance below 0
            torch._foreach_add_(roots, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(parameters, gradients, roots, -group["lr"])
