"""The Q-network as configured, its weights as plain arrays, and its use for inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from apex_ray.config.schema import NetworkConfig
from apex_ray.networks.dueling import DuelingHead, FullPrecisionLinear, PlainHead
from apex_ray.networks.torso import build_torso
from apex_ray.types import AnyArray, EnvSpec, FloatArray


class QNetwork(nn.Module):
    """Observations [B, S, *F] -> Q-values [B, A]."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        self.torso = build_torso(spec, config)
        head = DuelingHead if config.dueling else PlainHead
        self.head = head(self.torso.num_features, config.hidden, spec.num_actions)

    def forward(self, observations: Tensor) -> Tensor:
        return self.head(self.torso(observations))  # type: ignore[no-any-return]


def build_network(spec: EnvSpec, config: NetworkConfig, seed: int | None = None) -> QNetwork:
    """A Q-network in channels_last layout; with `seed`, the same parameters each time, leaving torch's RNG alone."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        network = QNetwork(spec, config)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def to_arrays(network: nn.Module) -> dict[str, AnyArray]:
    """The parameters as contiguous arrays of their own, by name."""
    return {k: v.detach().cpu().contiguous().numpy().copy() for k, v in network.state_dict().items()}


def from_arrays(network: nn.Module, params: Mapping[str, AnyArray]) -> None:
    """Load what `to_arrays` gave. Raises RuntimeError naming missing, unexpected or misshapen parameters."""
    # np.array: arrays out of shared memory are read-only, which torch.from_numpy warns of; load_state_dict copies.
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in params.items()})


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has units that multiply bfloat16 matrices: tensor cores, or a CPU's AMX tiles.

    Without them bfloat16 saves memory traffic at best; on a CPU it is slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16", False))


class Inference:
    """A network as a function of arrays: observations [E, S, *F] -> Q-values float32 [E, A]."""

    def __init__(
        self, network: QNetwork, bf16: bool | Literal["auto"] = False, device: torch.device | None = None
    ) -> None:
        """`bf16`: hold the parameters, but for the last layers', in bfloat16; auto: where the device multiplies it."""
        self.device = device or torch.device("cpu")
        self.network = network.eval().requires_grad_(False).to(self.device)
        if bf16 is True or (bf16 == "auto" and multiplies_bf16(self.device)):
            network.to(torch.bfloat16)
            for module in network.modules():
                if isinstance(module, FullPrecisionLinear):
                    module.float()

    def load(self, params: Mapping[str, AnyArray]) -> None:
        from_arrays(self.network, params)

    def __call__(self, observations: AnyArray) -> FloatArray:
        with torch.inference_mode():
            return self.network(torch.as_tensor(observations).to(self.device)).cpu().numpy()  # type: ignore[no-any-return]
