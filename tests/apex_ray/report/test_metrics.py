import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[import-untyped]

from apex_ray.agent.exploration import actor_epsilons, epsilon_ladder
from apex_ray.config.load import load
from apex_ray.report.metrics import EVALUATION_COLUMNS, METRICS, Lately, Rates, ReturnsByBand, reference
from apex_ray.report.writer import MetricsWriter
from apex_ray.types import EpisodeEnd, EvaluationResult
from trainkit.config import to_yaml
from trainkit.errors import UserError
from trainkit.runs import create_run

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


def rows_of(run: Path) -> list[dict[str, float | None]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def row(time_s: float, frames: Any, **more: Any) -> dict[str, float]:
    return {"time_s": time_s, "frames": frames, **more}


def scalars(run: Path, tag: str) -> list[tuple[int, float]]:
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(tag)]


def test_a_row_reaches_both_files_while_the_writer_is_open(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resume=False) as writer:
        writer.write(row(1.5, np.int64(400), loss=np.float32(0.25), td_error=math.nan, q_mean=math.inf))
        assert rows_of(tmp_path) == [{"time_s": 1.5, "frames": 400, "loss": 0.25, "td_error": None, "q_mean": None}]
    assert scalars(tmp_path, "learning/loss") == [(400, 0.25)]
    with pytest.raises(KeyError):
        scalars(tmp_path, "learning/td_error")


def test_tensorboard_shows_the_settings_and_can_compare_runs_by_them(tmp_path: Path) -> None:
    run = create_run(tmp_path, "pong", to_yaml(load("pong", ["seed=7", "learner.learning_rate=1e-3"]).config))
    with MetricsWriter(run, resume=False) as writer:
        writer.write(row(1, 100))
    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    (text,) = board.Tensors("settings/text_summary")
    assert b"learning_rate: 0.001" in text.tensor_proto.string_val[0]
    started = board.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    values = HParamsPluginData.FromString(started).session_start_info.hparams
    assert values["seed"].number_value == 7 and values["learner.learning_rate"].number_value == 0.001
    assert values["env.id"].string_value == "ALE/Pong-v5" and values["td.double_q"].number_value == 1


def test_an_unknown_or_missing_name_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resume=False) as writer:
        with pytest.raises(ValueError, match=r"'frame_per_s'.*'frames_per_s'"):
            writer.write(row(1, 1, frame_per_s=2))
        with pytest.raises(ValueError, match="lacks frames"):
            writer.write({"time_s": 1})
    assert rows_of(tmp_path) == []


@pytest.mark.parametrize("tail", [b'{"time_s": 3, "fra', b'{"time_s": 3, "fra\n', b"\0\0\0\0", b"\0\0\n\0\0"])
def test_resuming_drops_what_a_crash_left_half_written(tmp_path: Path, tail: bytes) -> None:
    with MetricsWriter(tmp_path, resume=False) as writer:
        writer.write(row(1, 100))
        writer.write(row(2, 200))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    with MetricsWriter(tmp_path, resume=True) as writer:
        writer.write(row(4, 300))
    assert [r["frames"] for r in rows_of(tmp_path)] == [100, 200, 300]


def test_resuming_a_file_that_is_only_half_a_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"time_s')
    with MetricsWriter(tmp_path, resume=True) as writer:
        writer.write(row(4, 300))
    assert len(rows_of(tmp_path)) == 1


def test_tensorboard_hides_what_a_resumed_run_does_again(tmp_path: Path) -> None:
    for resume, frames in ((False, (100, 200, 300)), (True, (250, 350))):
        with MetricsWriter(tmp_path, resume) as writer:
            for f in frames:
                writer.write(row(f / 100, f, loss=float(resume)))
    assert scalars(tmp_path, "learning/loss") == [(100, 0), (200, 0), (250, 1), (350, 1)]


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resume=False) as writer:
        writer.write(row(1, 100))
    with pytest.raises(UserError, match=r"metrics\.jsonl already holds a run"):
        MetricsWriter(tmp_path, resume=False)


def test_an_unwritable_folder_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't write metrics"):
        MetricsWriter(tmp_path / "file" / "run", resume=False)


def test_an_evaluation_is_a_csv_line_and_scalars(tmp_path: Path) -> None:
    result = EvaluationResult(7, 8, 900, [1.0, 3.0], [10, 20], human_normalised=0.5)
    other = EvaluationResult(9, 9, 1000, [4.0], [10])
    with MetricsWriter(tmp_path, resume=False) as writer:
        writer.write(row(60, 950))
        writer.evaluation(result, time_s=60.0)
    with (tmp_path / "evaluations.csv").open("ab") as file:
        file.write(b"99,1000,9")
    with MetricsWriter(tmp_path, resume=True) as writer:
        writer.evaluation(other, time_s=75.5)
    lines = list(csv.reader((tmp_path / "evaluations.csv").read_text().splitlines()))
    assert lines == [
        list(EVALUATION_COLUMNS),
        ["60.000", "900", "8", "7", "2", "1", "1", "3", "2", "0.5"],
        ["75.500", "1000", "9", "9", "4", "0", "4", "4", "1", ""],
    ]
    assert scalars(tmp_path, "evaluations/mean") == [(900, 2), (1000, 4)]


def test_rates_cover_the_window_only() -> None:
    rates = Rates(window_s=30)
    assert math.isnan(rates.update(0, frames=500)["frames"])
    assert rates.update(10, frames=1500)["frames"] == 100
    for now in range(20, 60, 10):
        rates.update(now, frames=1500)
    assert rates.update(60, frames=1530)["frames"] == 1  # 30 frames since second 30


def test_rates_of_rare_updates_use_the_last_two() -> None:
    rates = Rates(window_s=30)
    rates.update(0, updates=0)
    rates.update(100, updates=100)
    assert rates.update(200, updates=300)["updates"] == 2


def test_rates_start_anew_when_a_total_goes_back() -> None:
    rates = Rates()
    rates.update(0, frames=100, updates=100)
    assert all(math.isnan(rate) for rate in rates.update(1, frames=200, updates=50).values())
    assert rates.update(2, frames=300, updates=60) == {"frames": 100, "updates": 10}
    assert math.isnan(Rates().update(2, frames=1)["frames"])


def episode(epsilon: float, score: float) -> EpisodeEnd:
    return EpisodeEnd(score, 10, epsilon)


def test_each_quarter_of_the_ladder_is_a_band_greediest_first() -> None:
    ladder = epsilon_ladder(16, 0.4, 7)
    bands = ReturnsByBand(ladder)
    for rank, epsilon in enumerate(sorted(map(float, ladder))):
        bands.add(episode(epsilon, rank), 0.0)
    assert bands.metrics(0.0) == {
        "episode_return": 7.5,
        "episode_return_band_0": 1.5,
        "episode_return_band_1": 5.5,
        "episode_return_band_2": 9.5,
        "episode_return_band_3": 13.5,
        "episode_return_min": 0.0,
        "episode_return_max": 15.0,
    }
    ordered = sorted(map(float, ladder))
    assert bands.ranges() == [(ordered[i], ordered[i + 3]) for i in (0, 4, 8, 12)]


def test_bands_take_an_actors_epsilons_and_their_double_precision() -> None:
    bands = ReturnsByBand(epsilon_ladder(8, 0.4, 7))
    for epsilon in actor_epsilons(1, 2, 4, 0.4, 7):  # every second rung: one in each band
        bands.add(episode(float(str(epsilon)), 1.0), 0.0)
    assert all(bands.metrics(0.0)[f"episode_return_band_{band}"] == 1 for band in range(4))


@pytest.mark.parametrize(("count", "filled"), [(1, {0}), (2, {0, 2}), (3, {0, 1, 2}), (5, {0, 1, 2, 3})])
def test_few_environments_leave_bands_empty(count: int, filled: set[int]) -> None:
    ladder = epsilon_ladder(count, 0.4, 7)
    bands = ReturnsByBand(ladder)
    for epsilon in ladder:
        bands.add(episode(float(epsilon), 0), 0.0)
    assert {b for b in range(4) if f"episode_return_band_{b}" in bands.metrics(0.0)} == filled
    assert {b for b, r in enumerate(bands.ranges()) if r is not None} == filled


def test_only_the_last_100_episodes_count() -> None:
    bands = ReturnsByBand([0.1])
    for score in [1000.0] + [1.0] * 100:
        bands.add(episode(0.1, score), 0.0)
    assert bands.metrics(0.0) == dict.fromkeys(
        ("episode_return", "episode_return_band_0", "episode_return_min", "episode_return_max"), 1
    )


def test_a_mean_keeps_up_with_what_is_learned() -> None:
    """Of those of the last minute; where these are few, of the last ten."""
    lately = Lately()
    for second in range(100):
        lately.add(float(second), second)
    assert lately.mean(99.0) == np.mean(range(40, 100))
    assert lately.mean(1000.0) == np.mean(range(90, 100))
    assert Lately().mean(0.0) is None


def test_the_reference_page_is_up_to_date() -> None:
    hint = "run: python -m apex_ray.report.metrics > docs/metrics.md"
    assert DOCS.read_text(encoding="utf-8") == reference(), hint


def test_no_meaning_breaks_the_table() -> None:
    lines = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(lines) == len(METRICS)
    assert all(line.count("|") == 5 for line in lines)


def test_an_agents_own_metrics_are_written_and_others_refused(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, resume=False) as writer:
        writer.write({"time_s": 1.0, "frames": 1, "agent_entropy": 0.5})
        with pytest.raises(ValueError, match="unknown metric 'entropy'"):
            writer.write({"time_s": 1.0, "frames": 1, "entropy": 0.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["agent_entropy"] == 0.5
