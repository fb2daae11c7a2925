"""An agent's network: a torso with a head, its weights as plain arrays, and its use for inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from apex_ray.agent.contract import Agent, State
from apex_ray.agent.heads import FullPrecision, NoisyLinear
from apex_ray.types import AnyArray, Observations
from trainkit.errors import UserError, place, with_kind


def new_network(agent: Agent, seed: int | None = None) -> nn.Module:
    """The agent's network in channels_last layout; with `seed`, the same parameters each time, leaving torch's own
    generator alone.

    UserError for what it raises, which is that of a user's own agent, or of a part of the network.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            return agent.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
        except UserError:
            raise
        except Exception as error:
            what = f"{with_kind(error)}{place(error)}"
            raise UserError(f"agent {type(agent).__name__}: its network can't be made: {what}") from error


def to_arrays(network: nn.Module) -> dict[str, AnyArray]:
    """The parameters as contiguous arrays of their own, by name."""
    return {k: v.detach().cpu().contiguous().numpy().copy() for k, v in network.state_dict().items()}


def from_arrays(network: nn.Module, params: Mapping[str, AnyArray]) -> None:
    """Load what `to_arrays` gave. Raises RuntimeError naming missing, unexpected or misshapen parameters."""
    # np.array: arrays out of shared memory are read-only, which torch.from_numpy warns of; load_state_dict copies.
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in params.items()})


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself: tensor cores, or a CPU's AMX tiles or AVX-512 BF16.

    Without them bfloat16 saves memory traffic at best; on a CPU it is slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


class Inference:
    """An agent's network as a function of arrays: observations and a state -> its outputs and a state."""

    def __init__(
        self,
        agent: Agent,
        bf16: bool | Literal["auto"] = False,
        device: torch.device | None = None,
        seed: int | None = None,
    ) -> None:
        """`bf16`: hold the parameters, but for FullPrecision's, in bfloat16; auto: where the device multiplies it."""
        self.device = device or torch.device("cpu")
        self._agent = agent
        self.network = new_network(agent, seed).eval().requires_grad_(False).to(self.device)
        if bf16 is True or (bf16 == "auto" and multiplies_bf16(self.device)):
            self.network.to(torch.bfloat16)
            for module in self.network.modules():
                if isinstance(module, FullPrecision):
                    module.float()

    def load(self, params: Mapping[str, AnyArray], noise: Sequence[int] = ()) -> None:
        """`noise`: of noisy layers, these numbers' own draw; () for none."""
        from_arrays(self.network, params)
        layers = [layer for layer in self.network.modules() if isinstance(layer, NoisyLinear)] if noise else []
        if layers:
            generator = torch.Generator().manual_seed(int(np.random.SeedSequence(noise).generate_state(1)[0]))
            for layer in layers:
                layer.draw(generator)

    def __call__(self, observations: Observations, state: State) -> tuple[dict[str, AnyArray], State]:
        with torch.inference_mode():
            inputs, before = self._tensors(observations), self._tensors(state)
            outputs, after = self._agent.infer(self.network, inputs, before)
            return _arrays(outputs), _arrays(after)

    def _tensors(self, arrays: Mapping[str, AnyArray]) -> dict[str, Tensor]:
        return {name: torch.as_tensor(array).to(self.device) for name, array in arrays.items()}


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, AnyArray]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
