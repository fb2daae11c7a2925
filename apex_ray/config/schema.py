"""Every setting of a run: one frozen pydantic model per part. YAML presets fill them, dotted overrides change them.

Units are in the names: `_frames` emulator frames, `_steps` agent steps, `_transitions`, `_updates`, `_s` seconds,
`_bytes`. "Horgan" is Horgan et al. 2018, Distributed Prioritized Experience Replay (arXiv 1803.00933).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from trainkit.count_range import CountRange, Range
from trainkit.schedule import check_points
from trainkit.section import Section

Probability = Annotated[float, Field(ge=0, le=1)]


def _rising(points: Any) -> Any:
    check_points(points)
    return points


Rising = AfterValidator(_rising)


class EnvConfig(Section):
    """Which environment, and the preprocessing of emulated games: Atari's (Mnih et al. 2015; Machado et al. 2018 for
    sticky actions), and a plug-in's where it says so (config/plugins.py).
    """

    id: str = Field(
        description="ALE/<Game>-v5, <plug-in>/<its name for it>, or any Gymnasium id, also as module:id "
        "(docs/environments.md says with which observations and actions)"
    )
    make: str | None = Field(
        None,
        description="package.module:name of your own class or function: called with kwargs, it gives a gymnasium.Env; "
        "id is then only a name",
    )
    frame_skip: PositiveInt = Field(
        4, description="games: emulator frames per agent step; Atari: the last two are max-pooled"
    )
    frame_stack: PositiveInt = Field(
        4,
        le=255,
        description="frames stacked into an observation; set 1 for vectors (beside images, vectors are never stacked)",
    )
    image_size: PositiveInt = Field(84, description="side of the square gray frame, pixels")
    noop_max: int = Field(30, ge=0, description="games: after a reset, 1 to this many frames of no-ops")
    sticky_actions: float = Field(0.0, ge=0, le=1, description="games: probability of repeating the last action")
    fire_reset: bool = Field(True, description="Atari: press FIRE after a reset where the game waits for it")
    terminal_on_life_loss: bool = Field(
        False, description="training only: a lost life ends the n-step window with value 0"
    )
    max_episode_frames: PositiveInt = Field(108_000, description="time limit (truncation), 30 minutes of play")
    step_limit_s: PositiveFloat = Field(
        120.0,
        description="seconds in a reset() or step() after which the environment is named; it is ended only with "
        "processes",
    )
    full_action_space: bool = Field(False, description="Atari: all 18 actions instead of the game's own")
    import_modules: tuple[str, ...] = Field(
        (), description="modules to import first, which register environments; also found in the current folder"
    )
    vector: bool = Field(
        False,
        description="your own make, or Gymnasium's entry point of the id, gives a VectorEnv of all environments of an "
        "actor",
    )
    processes: bool = Field(
        False,
        description="Gymnasium's environments in processes of their own: slow ones side by side; one that crashes, or "
        "is in a step for step_limit_s, is started anew with its actor",
    )
    channels: Literal["auto", "first", "last"] = Field(
        "auto", description="where images [H, W, C] have their colours; auto: last, and what can't be so is refused"
    )
    ignore: tuple[str, ...] = Field(
        (), description="parts of Dict and Tuple observations that are left out, such as [mission], nested a.b"
    )
    action_mask: bool | Literal["auto"] = Field(
        "auto", description="respect action masks in observations or infos; auto: where there are some; false: never"
    )
    max_joint_actions: PositiveInt = Field(
        64, description="actions of several parts are learned as one up to so many combinations, above part by part"
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="passed to what makes the environment: gymnasium.make, or the plug-in"
    )

    @model_validator(mode="after")
    def _one_way(self) -> EnvConfig:
        if self.vector and self.processes:
            raise ValueError("vector and processes are two ways to step environments: expected one of them")
        return self


class TdConfig(Section):
    """The learning target, shared by actor (initial priorities) and learner."""

    objective: str = Field(
        "dqn",
        description="what is learned: dqn, categorical (C51), quantile (QR-DQN), implicit (IQN), or your own as "
        "package.module:name",
    )
    objective_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="settings of the objective, if it has any"
    )
    n_step: PositiveInt = Field(3, le=50, description="rewards in an n-step return (Horgan: 3)")
    discount: float = Field(0.99, gt=0, le=1, description="gamma per agent step (Horgan: 0.99)")
    reward_clip: PositiveFloat | None = Field(1.0, description="rewards clipped to [-x, x]; null for none")
    value_rescaling: PositiveFloat | None = Field(
        None,
        description="epsilon of the function h by which values are rescaled (R2D2: 1e-3, rewards unclipped); null: no "
        "rescaling",
    )
    double_q: bool = Field(
        True, description="the online network chooses the action, the target network gives its value (van Hasselt 2016)"
    )
    munchausen: float | None = Field(
        None,
        ge=0,
        le=1,
        description="scale of the log-policy that is added to the reward; the next action's policy is soft instead of "
        "greedy (Vieillard 2020: 0.9); null: neither",
    )
    munchausen_temperature: PositiveFloat = Field(0.03, description="temperature of that policy (Vieillard: 0.03)")
    munchausen_clip: float = Field(-1.0, le=0, description="lower limit of what is added to the reward (Vieillard: -1)")

    @model_validator(mode="after")
    def _one_scale(self) -> TdConfig:
        if self.munchausen is not None and self.value_rescaling is not None:
            raise ValueError("munchausen's rewards are in the scale of values, which value_rescaling is not; set one")
        return self


class NetworkConfig(Section):
    torso: str = Field(
        "auto",
        description="auto (conv for images, small_conv for small ones, mlp for vectors), one of these by name, impala, "
        "or your own as package.module:name",
    )
    torso_kwargs: dict[str, Any] = Field(default_factory=dict, description="settings of the torso, if it has any")
    conv_channels: tuple[PositiveInt, ...] = Field((32, 64, 64), description="of conv: channels of each convolution")
    conv_kernels: tuple[PositiveInt, ...] = Field((8, 4, 3), description="of conv: side of each kernel, pixels")
    conv_strides: tuple[PositiveInt, ...] = Field((4, 2, 1), description="of conv: stride of each convolution, pixels")
    mlp_layers: tuple[PositiveInt, ...] = Field(
        (128, 128), min_length=1, description="of mlp: width of each fully connected layer"
    )
    hidden: PositiveInt | tuple[PositiveInt, ...] = Field(
        512, description="width of each head's hidden layer; a list: of several, [] for none"
    )
    normalise: bool = Field(
        False,
        description="vectors less their running mean, divided by their running deviation, of what was learned from",
    )
    layer_norm: bool = Field(
        False, description="layer normalisation before each ReLU of conv, small_conv, mlp and the heads (Ba 2016)"
    )
    noisy: bool = Field(
        False,
        description="learned noise in the heads' layers (Fortunato 2018), drawn anew for every update, and to act with "
        "every fetch of weights; evaluations have none",
    )
    dueling: bool = Field(True, description="separate value and advantage heads (Wang et al. 2016)")
    memory: str = Field(
        "none",
        description="between torso and heads, with the last action and reward as inputs too: none, lstm, wavenet, or "
        "your own as package.module:name",
    )
    memory_kwargs: dict[str, Any] = Field(default_factory=dict, description="settings of the memory")

    @model_validator(mode="after")
    def _same_length(self) -> NetworkConfig:
        if not len(self.conv_channels) == len(self.conv_kernels) == len(self.conv_strides):
            raise ValueError("conv_channels, conv_kernels and conv_strides must have the same length")
        return self


class SequencesConfig(Section):
    """What a network with a memory learns from (Kapturowski et al. 2019, R2D2)."""

    burn_in_steps: int = Field(
        40, ge=0, description="before those that are learned from, to bring the memory to its state (R2D2: 40)"
    )
    length_steps: PositiveInt = Field(80, description="that are learned from (R2D2: 80)")
    period_steps: PositiveInt = Field(40, description="from a sequence's first to the next one's (R2D2: 40)")
    eta: float = Field(
        0.9, ge=0, le=1, description="priority: eta times the largest |TD error| and the rest the mean (R2D2: 0.9)"
    )


class ActorsConfig(Section):
    count: PositiveInt | Literal["auto"] | Range = Field(
        "auto",
        description="actor processes; auto: the cores that the learner leaves; a range such as 2-64: start with the "
        "smaller number, take in more as the cluster has room",
    )
    envs_per_actor: PositiveInt = Field(16, description="environments stepped together by one actor")
    epsilon_base: float = Field(0.4, gt=0, lt=1, description="epsilon of environment 0 of the ladder (Horgan: 0.4)")
    epsilon_alpha: float = Field(7.0, ge=0, description="spread of the ladder (Horgan: 7)")
    epsilon_schedule: Annotated[tuple[tuple[NonNegativeInt, Probability], ...], Rising] = Field(
        (),
        description="lower limit of all environments' epsilons, as [[update, epsilon], ...] with straight lines "
        "between: exploration that falls during training",
    )
    chunk_transitions: PositiveInt = Field(50, description="steps of each environment sent at a time (Horgan: 50)")
    weights_every_steps: PositiveInt = Field(100, description="steps of an environment between fetches (400 frames)")
    chunks_in_flight: PositiveInt = Field(2, description="chunks sent and not yet stored, at most")
    groups: PositiveInt = Field(
        1, description="groups of an actor's environments; with 2, one emulates while the network acts for the other"
    )
    threads: PositiveInt = Field(1, description="threads an actor uses for emulation, and for inference")
    bf16: bool | Literal["auto"] = Field(
        False, description="choose actions in bfloat16; auto: if the CPU multiplies it in hardware"
    )

    inference: Literal["local", "central", "node"] = Field(
        "local",
        description="where the network computes actions: local: in each actor; central: in one process for all "
        "actors; node: in one process on each node; the last two on a GPU if there is one",
    )
    inference_device: str = Field("auto", description="of central and node inference: auto, cpu or cuda[:N]")

    @property
    def range(self) -> CountRange | None:
        """Of actors; None for auto."""
        return None if self.count == "auto" else CountRange.of(self.count)

    @model_validator(mode="after")
    def _groups_are_equal(self) -> ActorsConfig:
        if self.envs_per_actor % self.groups:
            raise ValueError("envs_per_actor must be a multiple of groups")
        if self.range is not None:
            self.range.check()
        return self


class ReplayConfig(Section):
    capacity_transitions: PositiveInt = Field(
        2_000_000, description="transitions in all shards together; the oldest are overwritten (Horgan: soft limit 2M)"
    )
    min_transitions: PositiveInt = Field(
        50_000, description="learning starts when replay holds this many (Horgan: 50k)"
    )
    alpha: float = Field(0.6, ge=0, description="sampling probability ~ priority^alpha (Horgan: 0.6)")
    beta: float = Field(0.4, ge=0, le=1, description="importance weights ~ (1/(N p))^beta (Horgan: 0.4)")
    beta_schedule: Annotated[tuple[tuple[NonNegativeInt, Probability], ...], Rising] = Field(
        (), description="instead of beta, [[update, beta], ...] with straight lines between"
    )
    priority_floor: PositiveFloat = Field(
        1e-6, description="added to every |TD error|: with a priority of 0 a transition would never be sampled again"
    )
    samples_per_insert: PositiveFloat | None = Field(
        None,
        description="how often a transition is sampled on average; null: learner and actors do not wait for each other",
    )
    insert_tolerance_transitions: PositiveInt | None = Field(
        None,
        description="how far actors, all together, may run ahead of that ratio; null: min_transitions / 10, at least "
        "two chunks",
    )
    frames: Literal["replay", "learner"] = Field(
        "replay", description="learner: a copy of all frames on the learner's device, so that batches are only indices"
    )
    shards: PositiveInt = Field(1, description="replay processes that share the transitions, sampled as one")
    max_bytes: PositiveInt | None = Field(
        None, description="a run whose replay needs more is refused; null: 80% of available memory"
    )


class LearnerConfig(Section):
    init_from: str | None = Field(
        None,
        description="RUN (its best weights) or RUN/checkpoints/NAME: begin with these weights, as far as they fit; "
        "null: with random ones",
    )
    batch_size: PositiveInt = Field(
        512, description="transitions of an update, or with a memory sequences (Horgan: 512)"
    )
    optimizer: Literal["rmsprop", "adam"] = Field("rmsprop", description="centred RMSProp (Horgan), or Adam")
    learning_rate: PositiveFloat = Field(6.25e-5, description="learning rate of the optimizer (Horgan: 0.00025 / 4)")
    learning_rate_schedule: Annotated[tuple[tuple[NonNegativeInt, NonNegativeFloat], ...], Rising] = Field(
        (), description="instead of learning_rate, [[update, rate], ...] with straight lines between"
    )
    rmsprop_decay: float = Field(0.95, gt=0, lt=1, description="decay of RMSProp's running means")
    epsilon: PositiveFloat = Field(
        1.5e-7, description="epsilon in the optimizer's denominator; RMSProp: inside the root (Horgan: 1.5e-7)"
    )
    max_grad_norm: PositiveFloat | None = Field(40.0, description="global gradient norm limit (Horgan: 40)")
    huber_delta: PositiveFloat | None = Field(1.0, description="Huber loss threshold; null: half squared error")
    target_every_updates: PositiveInt = Field(
        2_500, description="updates between copies of the network to the target network (Horgan: 2,500)"
    )
    reset_every_updates: PositiveInt | None = Field(
        None,
        description="updates after which heads and optimizer are reset, for many updates a step (Nikishin 2022); null: "
        "never",
    )
    reset_share: float = Field(
        0.5, ge=0, le=1, description="how far the other parameters then move to new random ones (D'Oro 2023: 0.5)"
    )
    publish_every_updates: PositiveInt = Field(50, description="updates between new weights for the actors")
    prefetch_batches: PositiveInt = Field(3, description="batches asked of replay ahead of use")
    device: str = Field("auto", description="auto: cuda when there is one, else cpu; or cpu, cuda, cuda:1")
    bf16: bool | Literal["auto"] = Field(
        False, description="autocast to bfloat16; auto: where the device multiplies it in hardware"
    )
    compile: bool | Literal["auto"] = Field(
        False, description="torch.compile the update, 10 to 60 s at the start; auto: where there is a compiler"
    )
    cuda_graphs: bool = Field(
        False, description="with compile on CUDA: replay recorded launches (torch.compile's reduce-overhead)"
    )
    threads: PositiveInt | Literal["auto"] = Field(
        "auto", description="CPU threads of a worker; auto: a quarter of the cores shared by the workers, 1 to 8 each"
    )
    workers: PositiveInt = Field(
        1, description="processes that share each batch, with equal weights; each has a GPU, if there are GPUs"
    )

    @model_validator(mode="after")
    def _graphs_need_compile(self) -> LearnerConfig:
        if self.cuda_graphs and self.compile is False:
            raise ValueError("cuda_graphs needs compile true or auto")
        return self

    @model_validator(mode="after")
    def _equal_shares(self) -> LearnerConfig:
        if self.batch_size % self.workers:
            raise ValueError(
                f"batch_size {self.batch_size} can't be shared out equally by workers {self.workers}; the nearest is "
                f"{max(round(self.batch_size / self.workers), 1) * self.workers}"
            )
        return self


class EvaluationConfig(Section):
    every_s: PositiveFloat = Field(120.0, description="seconds between evaluations while training")
    episodes: PositiveInt = Field(
        20, description="whole episodes; with several starts, the n-th has the n-th of them in turn"
    )
    env_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="values of env.kwargs that differ in evaluations"
    )
    envs: PositiveInt = Field(8, description="environments stepped together")
    epsilon: float = Field(0.001, ge=0, le=1, description="probability of a random action in evaluations; 0 is greedy")
    max_episode_frames: PositiveInt | None = Field(
        None, description="time limit of its episodes, emulator frames; null: env.max_episode_frames"
    )
    max_s: PositiveFloat | None = Field(
        600.0,
        description="seconds after which an evaluation ends with the episodes it has; its video may take as many; "
        "null: no limit",
    )
    video: bool = Field(True, description="keep a video of the best episode, if the environment can draw pictures")
    final: bool = Field(True, description="evaluate the final weights once more when training ends")


class StopConfig(Section):
    """Training ends at whichever comes first; all null: never."""

    after_s: PositiveFloat | None = Field(
        None, description="end after this many seconds of training, all starts of the run together"
    )
    after_frames: PositiveInt | None = Field(None, description="end after this many frames")
    after_updates: PositiveInt | None = Field(None, description="end after this many gradient updates")
    evaluation_return: float | None = Field(None, description="end when the mean of an evaluation reaches this")


class CheckpointConfig(Section):
    every_s: PositiveFloat = Field(300.0, description="seconds between checkpoints")
    keep: PositiveInt = Field(2, description="newest checkpoints kept, beside the best")
    replay: bool | Literal["auto"] = Field(
        "auto",
        description="save the replay too: after each checkpoint what is new in it, beside all other work, so that "
        "resuming needs no refill; auto: in serial mode, where the resumed run is bit for bit the one without a stop",
    )


class ClusterConfig(Section):
    address: str | None = Field(
        None,
        description="null: the Ray that this process is in, or RAY_ADDRESS, as in a submitted job, or an embedded Ray "
        "(local: always that); auto, host:port or ray://host:port: a cluster that is there",
    )
    learner_labels: dict[str, str] = Field(
        default_factory=dict, description="Ray node labels that the nodes of learner and replay must have"
    )
    actor_labels: dict[str, str] = Field(
        default_factory=dict, description="Ray node labels that actors' nodes must have"
    )
    autoscale_s: float = Field(
        0.0, ge=0, description="seconds to wait at the start for nodes that an autoscaler brings; 0: refuse at once"
    )
    shortage_s: PositiveFloat = Field(
        600.0, description="seconds with fewer actors than actors.count asks for until the run ends with a checkpoint"
    )
    stall_s: PositiveFloat = Field(
        300.0,
        description="seconds without an answer until a process is replaced, and without any progress until the run "
        "ends",
    )
    max_restarts: int = Field(
        3,
        ge=0,
        description="how many lost processes of each part a run replaces; all actors count as one part, and so do all "
        "relays, and all processes that infer for a node",
    )
    dashboard: bool = Field(False, description="start Ray's dashboard with an embedded Ray")
    object_store_bytes: PositiveInt | None = Field(
        None, description="embedded Ray's shared memory; null: what chunks and batches need"
    )


class ReportConfig(Section):
    every_s: PositiveFloat = Field(5.0, description="seconds between metric rows (JSONL, TensorBoard)")
    line_every_s: PositiveFloat = Field(30.0, description="seconds between lines where there is no terminal")
    loggers: tuple[str, ...] = Field(
        (), description="beside the run folder and TensorBoard: wandb, mlflow, or your own as package.module:name"
    )


class ApexConfig(Section):
    """A whole run."""

    name: str = Field("apex", description="name of the run, with which its folder's name begins")
    seed: int = Field(
        1, ge=0, description="seed of all random numbers; serial runs with the same seed are the same bit for bit"
    )
    agent: str = Field(
        "q_learning",
        description="how to act and to learn: q_learning, branching (for actions of several parts), or your own as "
        "package.module:name",
    )
    mode: Literal["ray", "serial"] = Field(
        "ray", description="serial: all parts in one process, deterministic, for debugging"
    )
    runs_dir: str = Field("runs", description="folder for run folders, or a URI such as s3://BUCKET/runs")
    env: EnvConfig
    td: TdConfig = TdConfig()
    network: NetworkConfig = NetworkConfig()
    sequences: SequencesConfig = SequencesConfig()
    actors: ActorsConfig = ActorsConfig()
    replay: ReplayConfig = ReplayConfig()
    learner: LearnerConfig = LearnerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    stop: StopConfig = StopConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    cluster: ClusterConfig = ClusterConfig()
    report: ReportConfig = ReportConfig()

    @property
    def saves_replay(self) -> bool:
        """What `checkpoint.replay` comes to."""
        return self.mode == "serial" if self.checkpoint.replay == "auto" else self.checkpoint.replay

    @model_validator(mode="after")
    def _consistent(self) -> ApexConfig:
        r, b, workers = self.replay, self.learner.batch_size, self.learner.workers
        if b > r.capacity_transitions:
            raise ValueError(
                f"learner.batch_size {b} is larger than replay.capacity_transitions {r.capacity_transitions}"
            )
        if b > r.min_transitions:
            raise ValueError(
                f"learner.batch_size {b} is larger than replay.min_transitions {r.min_transitions}: raise it"
            )
        if r.min_transitions > r.capacity_transitions // 2:
            raise ValueError(
                f"replay.min_transitions {r.min_transitions} must be at most half of "
                f"replay.capacity_transitions {r.capacity_transitions}: learning might never start"
            )
        if workers > 1 and self.mode == "serial":
            raise ValueError(f"learner.workers {workers}: mode serial is one process; expected 1, or mode ray")
        if workers > 1 and r.frames == "learner":
            raise ValueError(
                f"learner.workers {workers}: replay.frames learner is for one worker; expected 1, or replay.frames "
                "replay"
            )
        return self
