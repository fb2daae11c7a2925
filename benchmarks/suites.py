"""What benchmarks/suite.py runs: games, settings and how long, by the name of a suite."""

from __future__ import annotations

from dataclasses import dataclass, field

Words = tuple[str, ...]  # of the command line


@dataclass(frozen=True)
class Suite:
    games: dict[str, Words]  # by the name in tables: preset and settings
    settings: dict[str, Words]  # by the name in tables: what a run has beside its game's
    minutes: float  # of a run
    # By game, the returns that count as 0 and as 1; where it is not here, 0 and the mean of the first setting.
    scale: dict[str, tuple[float, float]] = field(default_factory=dict)
    extra: dict[tuple[str, str], Words] = field(default_factory=dict)  # of a game with one of the settings
    one_core: bool = False  # each run has one core to itself, so that two run at a time on two
    # Settings that are another program's: by their names scripts of benchmarks/peers, called with game, seed, seconds.
    peers: dict[str, str] = field(default_factory=dict)


MEMORY = Suite(
    games={
        "cartpole_masked": ("cartpole_masked",),
        "tmaze": ("tmaze",),
        "tmaze_100": (
            "tmaze", "env.kwargs={length: 100}", "sequences.length_steps=160", "sequences.period_steps=80",
            "actors.chunk_transitions=160", "td.discount=0.995", "td.n_step=10", "learner.batch_size=8",
            "learner.target_every_updates=50",
        ),
        "repeat_previous": (
            "cartpole_masked", "env.id=popgym-RepeatPreviousEasy-v0", "env.make=null", "env.import_modules=[popgym]",
            "sequences.burn_in_steps=4", "td.discount=0.5", "td.n_step=1", "stop.evaluation_return=0.98",
        ),
    },
    settings={
        "none": ("network.memory=none",), "lstm": ("network.memory=lstm",), "wavenet": ("network.memory=wavenet",),
    },
    minutes=5.0,
    scale={
        "cartpole_masked": (0.0, 500.0), "tmaze": (0.0, 4.0), "tmaze_100": (0.0, 4.0), "repeat_previous": (-0.5, 1.0),
    },
    extra={("tmaze_100", "wavenet"): ("network.memory_kwargs={layers_per_cycle: 7}",)},  # it sees 127 steps back
)  # fmt: skip

GAMES = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
ABLATIONS: dict[str, Words] = {
    "as it is": (),
    "no priorities": ("replay.alpha=0",),
    "alpha 0.3": ("replay.alpha=0.3",),
    "alpha 0.7": ("replay.alpha=0.7",),
    "n = 1": ("td.n_step=1",),
    "no double Q": ("td.double_q=false",),
    "no dueling": ("network.dueling=false",),
    "one epsilon": ("actors.epsilon_alpha=0", "actors.epsilon_base=0.05"),
    "no target network": ("learner.target_every_updates=1",),
    "first priorities all alike": ("agent=benchmarks.first_priorities:AllAlike",),
    "rewards as they are": ("td.reward_clip=null",),
    "C51": ("td.objective=categorical",),
    "quantiles": ("td.objective=quantile", "td.objective_kwargs={quantiles: 32}"),
    "implicit quantiles": ("td.objective=implicit",),
    "Munchausen": ("td.munchausen=0.9",),
    "Munchausen, implicit quantiles": ("td.objective=implicit", "td.munchausen=0.9"),
}
MINATAR = Suite(
    games={game: ("minatar", f"env.id=MinAtar/{game}-v1", "stop.evaluation_return=null") for game in GAMES},
    settings={"minatar": (), "RLlib DQN": (), "DQN in one file": ()},
    minutes=10.0,
    one_core=True,
    peers={"RLlib DQN": "minatar_rllib.py", "DQN in one file": "minatar_dqn.py"},
)
MINATAR_ABLATIONS = Suite(
    {game: MINATAR.games[game] for game in ("Breakout", "SpaceInvaders")}, ABLATIONS, minutes=10.0, one_core=True
)

PONG = Suite(  # what two cores learn most from in a quarter of an hour; the first is the preset as it is
    games={"Pong": ("atari_cpu", "stop.evaluation_return=18")},
    settings={
        "42 pixels, n = 5, twice the learning rate": (),
        "42 pixels": ("td.n_step=3", "learner.learning_rate=2.5e-4", "learner.target_every_updates=500"),
        "84 pixels": ("env.image_size=84", "network.conv_kernels=[8,4,3]", "network.conv_strides=[4,2,2]"),
    },
    minutes=15.0,
    scale={"Pong": (-21.0, 21.0)},
)

AIRSTRIKER = Suite(  # in half the time of results/airstriker, whose agent had 3.3 times a uniform player's points
    games={"Airstriker": ("airstriker", "evaluation.every_s=225", "evaluation.episodes=20")},
    settings={"as it is": (), "n = 5, 8 samples": ("td.n_step=5", "replay.samples_per_insert=8")},
    minutes=15.0,
    scale={"Airstriker": (188.0, 621.0)},
)

SUITES = {"pong": PONG, "airstriker": AIRSTRIKER, "memory": MEMORY, "minatar": MINATAR, "ablations": MINATAR_ABLATIONS}
