"""A Q-network for any observation: a torso for it, one for each part where it has several, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from apex_ray.agent.registry import TORSOS, named
from apex_ray.agent.torsos import conv_fits
from apex_ray.config.schema import NetworkConfig
from apex_ray.types import EnvSpec

OF_IMAGES = ("conv", "small_conv", "impala")


class QNetwork(nn.Module):
    """Observations, leaves [B, S, *F] -> what the head gives. A torso of one leaf is given its tensor alone."""

    def __init__(self, spec: EnvSpec, torso: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.torso, self.head = torso, head
        names = list(spec.seen)
        self._only = names[0] if len(names) == 1 else None

    def forward(self, observations: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.torso(observations if self._only is None else observations[self._only]))  # type: ignore[no-any-return]


class CombinedTorso(nn.Module):
    """A torso for each leaf of an observation; their features side by side."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        self._names = list(spec.seen)
        torsos: list[Any] = [
            _torso(replace(spec, observation={name: leaf}), config) for name, leaf in spec.seen.items()
        ]
        self.torsos = nn.ModuleList(torsos)
        self.num_features = sum(torso.num_features for torso in torsos)

    def forward(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Leaves [B, S, *F] -> [B, features]."""
        features = [torso(observations[n]) for n, torso in zip(self._names, self.torsos, strict=True)]
        return torch.cat(features, dim=1)


def build_torso(spec: EnvSpec, config: NetworkConfig) -> nn.Module:
    """The torso that `network.torso` names. One of apex-ray's own is for the leaves that it can take; a user's own has
    the whole observation: its tensor, or where there are several leaves, a mapping of them.
    """
    if len(spec.seen) > 1 and ":" not in config.torso:
        named(TORSOS | {"auto": TORSOS["mlp"]}, config.torso, "network.torso")  # refused here where there is none
        return CombinedTorso(spec, config)
    return _torso(spec, config, alone=True)


def _torso(spec: EnvSpec, config: NetworkConfig, alone: bool = False) -> nn.Module:
    name = config.torso
    if not alone and (name in OF_IMAGES) != (spec.leaf.kind == "image"):
        name = "auto"
    if name == "auto":
        image = spec.leaf.kind == "image"
        name = ("conv" if conv_fits(spec, config) else "small_conv") if image else "mlp"
    torso: nn.Module = named(TORSOS, name, "network.torso")(spec, config)
    return torso
