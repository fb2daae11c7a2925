"""The records that travel between the parts. Data only; who sends what to whom is the picture in docs/DESIGN.md.

Legend of shape letters, used in every docstring of the package:
    E  environments stepped together by one actor        B  samples in a batch
    T  steps of one stream in a chunk                     S  frames in an observation (the stack)
    n  steps of the n-step return                         A  actions of all branches; one branch where not said
    F  frame shape: (H, W) gray, (C, H, W) colours, (D,) vector
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
AnyArray = npt.NDArray[Any]

# By leaf (EnvSpec.observation): [E, S, *F] of E environments, newest frame last.
Observations = Mapping[str, AnyArray]
FRAMES = "frames"  # the leaf of an observation that is one array; those of others are frames.<name>
MASK = "action_mask"  # the leaf that says which actions are legal
# In the state of an agent with a memory: [E, K], -1 where an episode begins, and [E].
LAST_ACTION, LAST_REWARD = "last_action", "last_reward"

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
class Leaf:
    """One array of an observation, as replay keeps it."""

    kind: Literal[
        "image", "vector", "choice", "mask"
    ]  # choice: whole numbers, each one of some; the network sees one-hot
    shape: tuple[int, ...]  # of one frame, F
    dtype: str
    stack: int = 1  # frames in one observation, S
    scale: float = 1.0  # what the network multiplies values by: 1/255 for bytes
    sizes: tuple[int, ...] = ()  # of a choice: how many values each of its numbers has


@dataclass(frozen=True)
class EnvSpec:
    """What the network, the actor and replay must know of an environment."""

    env_id: str
    observation: Mapping[str, Leaf]  # its leaves by name
    branches: tuple[int, ...]  # how many values each part of an action has: one part, or several (Tavakoli et al. 2018)
    frame_skip: int  # emulator frames per agent step, 1 where there is no emulator
    streams: int = 1  # of each environment in a VectorEnv; envs/vector.py says which has two
    scores_of: str = ""  # the stand-in that was played, where scores are not the real game's; "" else
    reporter: str = ""  # "package.module:Class" of what reports its episodes' values; "" where they have none
    draws: bool = True  # pictures for videos, as far as the probe has looked
    notes: tuple[str, ...] = ()  # for the user: what the probe saw that does no harm
    own_code: OwnCode | None = None  # None: not probed

    @staticmethod
    def of_frames(
        env_id: str,
        shape: tuple[int, ...],
        dtype: str,
        stack: int,
        num_actions: int,
        frame_skip: int = 1,
        scores_of: str = "",
        reporter: str = "",
    ) -> EnvSpec:
        """Of observations that are one array, a vector or (uint8) an image, and actions 0..num_actions-1."""
        leaf = Leaf("vector" if len(shape) == 1 else "image", shape, dtype, stack, 1 / 255 if dtype == "uint8" else 1.0)
        return EnvSpec(env_id, {FRAMES: leaf}, (num_actions,), frame_skip, scores_of=scores_of, reporter=reporter)

    @property
    def seen(self) -> dict[str, Leaf]:
        """The leaves that the network is given: all but the mask."""
        return {name: leaf for name, leaf in self.observation.items() if leaf.kind != "mask"}

    @property
    def leaf(self) -> Leaf:
        """The only one that the network is given; ValueError where there are several."""
        (leaf,) = self.seen.values()
        return leaf

    @property
    def masked(self) -> bool:
        """Whether some actions are illegal in some states."""
        return MASK in self.observation

    @property
    def num_actions(self) -> int:
        """A, of all branches."""
        return sum(self.branches)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Of one environment's action: () for a number, (K,) for K branches."""
        return () if len(self.branches) == 1 else (len(self.branches),)


@dataclass
class Step:
    """One agent step of E environments, as an environment returns it.

    An environment whose episode ended at the last step ignores its action and starts anew (Gymnasium's next-step
    autoreset): `first` is then True, the reward is 0 and the step is no transition. The final observation of an
    episode is therefore always seen, which bootstrapping through a time limit needs.
    """

    observations: Observations  # valid until the environment's next recv()
    rewards: FloatArray  # [E] unclipped
    terminated: BoolArray  # [E] the episode ended in a terminal state
    truncated: BoolArray  # [E] the episode was cut (time limit): its last state still has a value
    life_lost: BoolArray  # [E] a life was lost and the game goes on, or would if it were not cut here
    first: BoolArray  # [E] the observation starts an episode
    ends: Mapping[int, EpisodeValues] = field(default_factory=dict)  # by environment whose episode ended
    idle: BoolArray | None = None  # [E] streams in which no environment has made a step; None: all have


@dataclass
class Chunk:
    """T consecutive steps of each of E streams with everything that sampling them needs, made by one actor.

    Step t of a stream stands at index `before + t` of a field, by that field's own `before` (fields.py).
    """

    fields: dict[str, AnyArray]  # [E, before + T + after, ...]
    valid: (
        BoolArray  # [E, N] of N samples: whether a step up to the next one's is a transition; autoreset steps are none
    )
    priorities: Float64Array  # [E, N] first |TD error|, by what the actor had computed anyway
    actor: int = 0  # index of the actor that collected it
    sequence: int = 0  # its running number with that actor
    version: int = 0  # of the weights that chose its last action

    @property
    def num_samples(self) -> int:
        return int(np.count_nonzero(self.valid))


@dataclass
class Batch:
    """B sampled steps."""

    fields: dict[str, AnyArray]  # [B, window, ...] or [B, ...]; without those that the learner's device has already
    weights: FloatArray  # [B] importance weights of beta = 1, largest of the batch is 1
    slots: IntArray  # [B] where in replay they are: shard * SHARD_STRIDE + slot
    overwrites: IntArray  # [B] how often that slot had been overwritten
    rarest: float = 1.0  # the smallest probability with which one of them was drawn: `weights` are relative to it


@dataclass
class PriorityUpdate:
    """New |TD errors| of sampled transitions. One whose slot was overwritten since is dropped by replay."""

    slots: IntArray  # [B]
    overwrites: IntArray  # [B]
    priorities: Float64Array  # [B]


@dataclass
class Weights:
    """The network's parameters by name. An actor never goes back to a smaller version."""

    version: int
    params: dict[str, AnyArray]


@dataclass(frozen=True)
class Counters:
    """How far a run has come; resuming goes on from here."""

    updates: int = 0
    frames: int = 0
    episodes: int = 0
    time_s: float = 0.0
    best_return: float | None = None
    generation: int = 0  # how often the run was started


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
