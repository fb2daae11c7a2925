"""The network of a task: inputs -> layers of cells -> a linear readout at each step; for speech, that of its own."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm.acoustic_network import AcousticNetwork
from lstm.cell import State
from lstm.config import ModelConfig
from lstm.recurrent import Recurrent
from lstm.shape import Shape


class Network(nn.Module):
    """Outputs [B, T, outputs] of inputs [B, T] (classes) or [B, T, features], and the state after them."""

    def __init__(self, config: ModelConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.embedding = nn.Embedding(shape.classes, config.embedding) if shape.classes else None
        self.recurrent = Recurrent(config, config.embedding if shape.classes else shape.features)
        self.readout = nn.Linear(self.recurrent.outputs, shape.outputs)

    def forward(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """A state carries a sequence on; `lengths` [B] are those of ragged ones (see Recurrent)."""
        outputs, state = self.recurrent(self.encoded(inputs), state, lengths)
        outputs = functional.dropout(outputs, self.config.dropout, self.training)
        return self.readout(outputs), state

    def encoded(self, inputs: Tensor) -> Tensor:
        """Inputs as the first layer sees them, [B, T, D]."""
        return inputs if self.embedding is None else self.embedding(inputs)

    def written(self) -> Network:
        """The same network, step by step: for single steps, and to look at its gates."""
        twin = deepcopy(self)
        twin.recurrent = twin.recurrent.written()
        return twin


def network_of(config: ModelConfig, shape: Shape) -> Network | AcousticNetwork:
    """The one for data of that shape, with weights that torch's generator draws."""
    return AcousticNetwork(config, shape) if shape.lasting else Network(config, shape)


def build(config: ModelConfig, shape: Shape, seed: int, quiet: bool = False) -> Network | AcousticNetwork:
    """A network whose weights the seed decides, leaving torch's own generator alone. `quiet`: it begins by saying 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = network_of(config, shape)
    if quiet:
        nn.init.zeros_(network.readout.weight)
        nn.init.zeros_(network.readout.bias)
    return network
