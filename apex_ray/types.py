"""The records that travel between the parts. Data only; who sends what to whom is the picture in docs/DESIGN.md.

Legend of shape letters, used in every docstring of the package:
    E  environments stepped together by one actor        B  samples in a batch
    T  steps of one stream in a chunk                     S  frames in an observation (the stack)
    n  steps of the n-step return                         A  actions
    F  frame shape: (H, W) gray, (C, H, W) colour, (D,) vector
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
AnyArray = npt.NDArray[Any]

# What an environment says of an episode beside its return, by name, when it has ended (report/episodes.py).
EpisodeValues = Mapping[str, str | float | bool | None]

# A batch names slot s of replay shard i as i * SHARD_STRIDE + s, so that priorities find their way back.
SHARD_STRIDE = 1 << 40


@dataclass(frozen=True)
class OwnCode:
    """What another process needs of a user's own code that this one knows (envs/own_code.py)."""

    path: tuple[str, ...]  # folders to import from
    spec: bytes = b""  # Gymnasium's EnvSpec, or None where it has none, pickled
    of_main: bytes = b""  # a script's own objects by name (dotted.py), pickled
    trouble: str = ""  # why they could not be


@dataclass(frozen=True)
class EnvSpec:
    """What the network, the actor and replay must know of an environment."""

    env_id: str
    frame_shape: tuple[int, ...]
    frame_dtype: str  # "uint8" (images, scaled by 1/255 in the network) or "float32" (vectors)
    stack: int  # frames in one observation, S
    num_actions: int
    frame_skip: int  # emulator frames per agent step, 1 where there is no emulator
    scores_of: str = ""  # what stands in for the game that the scores seem to be of; "" when nothing does
    reporter: str = ""  # "package.module:Class" of what reports its episodes' values; "" where they have none
    draws: bool = True  # pictures for videos, as far as the probe has looked
    notes: tuple[str, ...] = ()  # for the user: what the probe saw that does no harm
    own_code: OwnCode | None = None  # None: not probed

    @property
    def frame_bytes(self) -> int:
        return int(np.prod(self.frame_shape)) * np.dtype(self.frame_dtype).itemsize


@dataclass
class Step:
    """One agent step of E environments, as an environment returns it.

    An environment whose episode ended at the last step ignores its action and starts anew (Gymnasium's next-step
    autoreset): `first` is then True, the reward is 0 and the step is no transition. The final observation of an
    episode is therefore always seen, which bootstrapping through a time limit needs.
    """

    observations: AnyArray  # [E, S, *F] newest frame last; valid until the environment's next recv()
    rewards: FloatArray  # [E] unclipped
    terminated: BoolArray  # [E] the episode ended in a terminal state
    truncated: BoolArray  # [E] the episode was cut (time limit): its last state still has a value
    life_lost: BoolArray  # [E] a life was lost and the game goes on, or would if it were not cut here
    first: BoolArray  # [E] the observation starts an episode
    ends: Mapping[int, EpisodeValues] = field(default_factory=dict)  # by environment whose episode ended


@dataclass
class Chunk:
    """T consecutive steps of each of E streams with everything that sampling them needs, made by one actor.

    Step t of a stream stands at index `before + t` of a field, by that field's own `before` (fields.py).
    """

    fields: dict[str, AnyArray]  # [E, before + T + after, ...]
    valid: BoolArray  # [E, T] whether the step is a transition; an autoreset step is none
    priorities: Float64Array  # [E, T] first |TD error|, by what the actor had computed anyway
    actor: int = 0  # who made it
    sequence: int = 0  # its running number with that actor
    version: int = 0  # of the weights that chose its last action

    @property
    def num_transitions(self) -> int:
        return int(np.count_nonzero(self.valid))

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (*self.fields.values(), self.valid, self.priorities))


@dataclass
class Batch:
    """B sampled steps."""

    fields: dict[str, AnyArray]  # [B, window, ...] or [B, ...]; without those that the learner's device has already
    weights: FloatArray  # [B] importance weights, largest of the batch is 1
    slots: IntArray  # [B] where in replay they are: shard * SHARD_STRIDE + slot
    generations: IntArray  # [B] how often that slot had been overwritten

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (*self.fields.values(), self.weights, self.slots, self.generations))


@dataclass
class PriorityUpdate:
    """New |TD errors| of sampled transitions. One whose slot was overwritten since is dropped by replay."""

    slots: IntArray  # [B]
    generations: IntArray  # [B]
    priorities: Float64Array  # [B]


@dataclass
class Weights:
    """The network's parameters by name. An actor never goes back to a smaller version."""

    version: int
    params: dict[str, AnyArray]


@dataclass
class EpisodeEnd:
    """One finished training episode."""

    episode_return: float  # unclipped
    length_steps: int
    epsilon: float
    values: EpisodeValues | None = None  # the environment's own, as in Step.ends


@dataclass
class EvaluationResult:
    """Full episodes of one fixed policy."""

    version: int
    updates: int
    frames: int
    returns: list[float]
    lengths_steps: list[int]
    human_normalised: float | None = None
    video: str | None = None
    movie: str | None = None  # the emulator's own, of its buttons
    not_written: str = ""  # why the best weights or their video could not be kept
    episode_values: list[EpisodeValues] = field(default_factory=list)  # one an episode, where the environment has any
    scores_of: str = ""  # as in EnvSpec
    reporter: str = ""  # as in EnvSpec
    cut_steps: int | None = None  # agent steps at which all episodes were cut, where there was no time for whole ones
    note: str = ""  # what there was no time for

    @property
    def whole(self) -> bool:
        """Whether its mean can be compared with others: its episodes were played to their ends."""
        return self.cut_steps is None

    @property
    def mean_return(self) -> float:
        return float(np.mean(self.returns))
