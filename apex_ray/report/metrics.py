"""What a run measures: the list of metrics, their running means and rates.

`python -m apex_ray.report.metrics` prints docs/metrics.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from apex_ray.types import EpisodeEnd
from trainkit.exported import Exported, Metric

NUM_BANDS = 4
# Which training episodes a mean is over: those that ended lately, so that it keeps up with what is learned.
LATELY_S, FEWEST_EPISODES, MOST_EPISODES = 60.0, 10, 100
LATELY = f"training episodes that ended in the last {LATELY_S:.0f} s, {FEWEST_EPISODES} to {MOST_EPISODES} of them"
EVALUATION_COLUMNS = (
    "wall_s", "frames", "updates", "version", "mean", "std", "min", "max", "episodes", "human_normalised",
)  # fmt: skip


_QUARTERS = ("the greediest", "the second greediest", "the second most exploring", "the most exploring")

METRICS: dict[str, Metric] = {
    "time_s": Metric("progress", "s", "training time so far; goes on where a resumed run left off"),
    "frames": Metric("progress", "frames", "frames acted in so far: agent steps x frame skip (1 without an emulator)"),
    "episodes": Metric("progress", "episodes", "training episodes finished so far"),
    "updates": Metric("progress", "updates", "gradient updates so far"),
    "frames_per_s": Metric("throughput", "frames/s", "frames acted in, over the last 30 s"),
    "steps_per_s": Metric("throughput", "steps/s", "agent steps of all environments, over the last 30 s"),
    "updates_per_s": Metric("throughput", "updates/s", "gradient updates, over the last 30 s"),
    "samples_per_s": Metric("throughput", "transitions/s", "transitions learned from: updates x batch size, last 30 s"),
    "replay_transitions": Metric("replay", "transitions", "transitions that can be sampled now, all shards"),
    "replay_fill": Metric("replay", "0 to 1", "part of replay's capacity in use"),
    "replay_bytes": Metric("replay", "bytes", "memory that replay has reserved, all shards"),
    "replay_ratio": Metric(
        "replay", "samples/insert", "samples drawn per transition inserted since learning could start"
    ),
    "stale_priorities": Metric(
        "replay", "priorities", "priority updates dropped because their slot was overwritten, so far"
    ),
    "policy_age_updates": Metric(
        "learner", "updates", "learner updates between the weights that actors use (mean over actors) and the newest"
    ),
    "weights_version": Metric("learner", "updates", "newest weights that an actor uses: the update they come from"),
    "learner_wait_s": Metric("learner", "s", "time the learner waited for batches, since the last row"),
    "learner_wait_fraction": Metric("learner", "0 to 1", "part of its time that the learner waited for batches"),
    "actor_wait_fraction": Metric("learner", "0 to 1", "part of their time that actors waited for replay to store"),
    "loss": Metric("learning", "-", "loss with importance weights, mean over the updates since the last row"),
    "td_error": Metric(
        "learning", "clipped reward", "mean absolute TD error of sampled transitions since the last row"
    ),
    "q_mean": Metric("learning", "clipped reward", "mean Q-value of the actions in the batches, since the last row"),
    "grad_norm": Metric("learning", "-", "global gradient norm before clipping, mean since the last row"),
    "episode_return": Metric("returns", "return", f"mean of the {LATELY}; rewards unclipped, any epsilon"),
    "episode_return_min": Metric("returns", "return", "lowest of the episodes of `episode_return`"),
    "episode_return_max": Metric("returns", "return", "highest of the episodes of `episode_return`"),
    "episode_length_steps": Metric("returns", "steps", f"mean length of the {LATELY}"),
    **{
        f"episode_return_band_{band}": Metric(
            "returns", "return", f"`episode_return` of {quarter} quarter of the epsilon ladder"
        )
        for band, quarter in enumerate(_QUARTERS)
    },
    "evaluation_return": Metric("returns", "return", "mean return of the last evaluation"),
    "evaluation_best": Metric("returns", "return", "best evaluation so far"),
    "evaluation_human_normalised": Metric(
        "returns", "ratio", "last evaluation on the scale random play = 0, human = 1; the 57 Atari games only"
    ),
    "actors_alive": Metric("system", "processes", "actor processes running"),
    "restarts": Metric("system", "restarts", "lost processes that were replaced, so far"),
    "resident_bytes": Metric(
        "system",
        "bytes",
        "memory of all processes of the run, shared memory counted once; where all are on one machine",
    ),
}

EXPORTED = {
    "time_s": Exported("apex_training_seconds"),
    "frames": Exported("apex_env_frames_total"),
    "episodes": Exported("apex_env_episodes_total"),
    "updates": Exported("apex_learner_updates_total"),
    "frames_per_s": Exported("apex_env_frames_per_second"),
    "steps_per_s": Exported("apex_env_steps_per_second"),
    "updates_per_s": Exported("apex_learner_updates_per_second"),
    "samples_per_s": Exported("apex_learner_transitions_per_second"),
    "replay_transitions": Exported("apex_replay_transitions"),
    "replay_fill": Exported("apex_replay_fill_ratio"),
    "replay_bytes": Exported("apex_replay_bytes"),
    "replay_ratio": Exported("apex_replay_ratio"),
    "stale_priorities": Exported("apex_replay_stale_priorities_total"),
    "policy_age_updates": Exported("apex_policy_age_updates"),
    "weights_version": Exported("apex_weights_version_updates"),
    "learner_wait_s": Exported("apex_learner_wait_seconds"),
    "learner_wait_fraction": Exported("apex_learner_wait_ratio"),
    "actor_wait_fraction": Exported("apex_actor_wait_ratio"),
    "loss": Exported("apex_learner_loss"),
    "td_error": Exported("apex_learner_td_error"),
    "q_mean": Exported("apex_learner_q_mean"),
    "grad_norm": Exported("apex_learner_grad_norm"),
    "episode_length_steps": Exported("apex_episode_length_steps"),
    "evaluation_return": Exported("apex_evaluation_return", {"of": "last"}),
    "evaluation_best": Exported("apex_evaluation_return", {"of": "best"}),
    "evaluation_human_normalised": Exported("apex_evaluation_human_normalised_ratio"),
    "actors_alive": Exported("apex_actors_running"),
    "restarts": Exported("apex_actor_restarts_total"),
    "episode_return": Exported("apex_episode_return", {"of": "all"}),
    "episode_return_min": Exported("apex_episode_return", {"of": "lowest"}),
    "episode_return_max": Exported("apex_episode_return", {"of": "highest"}),
    **{
        f"episode_return_band_{band}": Exported("apex_episode_return", {"of": f"band {band}"})
        for band in range(NUM_BANDS)
    },
}


class Rates:
    """Running totals to rates per second over a sliding window."""

    def __init__(self, window_s: float = 30.0) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, dict[str, float]]] = deque()

    def update(self, now: float, **totals: float) -> dict[str, float]:
        """Rates since the oldest totals at most `window_s` ago (or the last ones, when they are older still).

        nan where none are known yet: at the first call, and after a total went back (a part that was restarted).
        """
        if self._seen and any(totals[name] < total for name, total in self._seen[-1][1].items()):
            self._seen.clear()
        self._seen.append((now, totals))
        while len(self._seen) > 2 and self._seen[0][0] < now - self._window_s:
            self._seen.popleft()
        then, before = self._seen[0]
        passed = now - then
        return {name: (total - before[name]) / passed if passed > 0 else math.nan for name, total in totals.items()}


class Lately:
    """Numbers of episodes, and those of the ones that ended lately."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=MOST_EPISODES)  # (when, number)

    def add(self, value: float, now_s: float) -> None:
        self._kept.append((now_s, value))

    def recent(self, now_s: float) -> list[float]:
        recent = [value for at, value in self._kept if at > now_s - LATELY_S]
        return recent if len(recent) >= FEWEST_EPISODES else [v for _, v in list(self._kept)[-FEWEST_EPISODES:]]

    def mean(self, now_s: float) -> float | None:
        """None before the first."""
        recent = self.recent(now_s)
        return float(np.mean(recent)) if recent else None


class ReturnsByBand:
    """Returns of the training episodes that ended lately, overall and by quarter of the epsilon ladder.

    Band 0 holds the smallest epsilons. Fewer environments than bands leave some of them empty.
    """

    def __init__(self, epsilons: Sequence[float] | npt.NDArray[np.floating[Any]]) -> None:
        ladder = np.sort(np.asarray(epsilons, np.float64))
        count = len(ladder)
        self._starts = [math.ceil(band * count / NUM_BANDS) for band in range(NUM_BANDS + 1)]
        # Halfway between neighbours, so that it doesn't matter whether an epsilon went through float32.
        self._edges = [(ladder[i - 1] + ladder[i]) / 2 if i < count else math.inf for i in self._starts[1:-1]]
        self._ladder = ladder
        self._all, self._bands = Lately(), [Lately() for _ in range(NUM_BANDS)]

    def ranges(self) -> list[tuple[float, float] | None]:
        """The smallest and largest epsilon of each band; None for an empty one."""
        pairs = zip(self._starts[:-1], self._starts[1:], strict=True)
        return [(float(self._ladder[i]), float(self._ladder[j - 1])) if i < j else None for i, j in pairs]

    def add(self, episode: EpisodeEnd, now_s: float) -> None:
        for returns in (self._all, self._bands[int(np.searchsorted(self._edges, episode.epsilon))]):
            returns.add(episode.episode_return, now_s)

    def metrics(self, now_s: float) -> dict[str, float]:
        """By name; what has no episode yet is left out."""
        named = {"episode_return": self._all} | {f"episode_return_band_{i}": b for i, b in enumerate(self._bands)}
        means = {name: returns.mean(now_s) for name, returns in named.items()}
        recent = self._all.recent(now_s)
        ends = {"episode_return_min": min(recent), "episode_return_max": max(recent)} if recent else {}
        return {name: mean for name, mean in means.items() if mean is not None} | ends


def _prometheus(name: str) -> str:
    if name not in EXPORTED:
        return "Ray's own `ray_component_rss_mb`"
    exported = EXPORTED[name]
    labels = ",".join(f'{key}="{value}"' for key, value in exported.labels.items())
    return f"`{exported.prometheus}{{{labels}}}`" if labels else f"`{exported.prometheus}`"


def reference() -> str:
    """docs/metrics.md: where metrics are written, and a table of all of them."""
    table = [f"| `{name}` | {m.unit} | {m.meaning} | {_prometheus(name)} |" for name, m in METRICS.items()]
    return "\n".join(
        [
            "# Metrics",
            "",
            "<!-- Written by `python -m apex_ray.report.metrics > docs/metrics.md`: change METRICS, not this page. -->",
            "",
            "A row every `report.every_s` seconds goes to `metrics.jsonl` in the run's folder, one JSON object a line,",
            "and to `tensorboard/` there, with `frames` as the step. A metric not yet known is missing or null.",
            "",
            "On Ray the row also goes to Ray's metrics port, for Prometheus, under the name in the last column, with",
            "the label `run`, the run folder's name; see [watching.md](watching.md).",
            "",
            "| metric | unit | meaning | Prometheus |",
            "|---|---|---|---|",
            *table,
            "",
            "Each evaluation is a line of `evaluations.csv`: " + ", ".join(f"`{c}`" for c in EVALUATION_COLUMNS) + ".",
            "`wall_s` is the training time and `frames` the frames acted in when the evaluation began. `version` is",
            "the update whose weights played. `mean` to `max` are of the unclipped returns of `episodes` episodes.",
            "",
        ]
    )


if __name__ == "__main__":
    print(reference(), end="")
