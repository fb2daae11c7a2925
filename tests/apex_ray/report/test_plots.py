import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread

from apex_ray.report import plots
from apex_ray.report.metrics import EVALUATION_COLUMNS

HEADER = ",".join(EVALUATION_COLUMNS) + "\n"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures as drawn, to look into."""
    drawn: list[Figure] = []
    save = plots.save

    def keep(figure: Figure, path: Path) -> Path:
        drawn.append(figure)
        return save(figure, path)

    monkeypatch.setattr(plots, "save", keep)
    return drawn


def lines_of(figure: Figure, panel: int) -> dict[str, tuple[list[float], list[float]]]:
    lines = figure.axes[panel].get_lines()
    return {
        str(line.get_label()): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
        for line in lines
    }


def test_learning_curve_draws_both_files_on_both_axes(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [{"time_s": 60 * i, "frames": 1000 * i, "episode_return_band_0": i, "loss": None} for i in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"time_s": 240, "fr')
    (tmp_path / "evaluations.csv").write_text(HEADER + "120,2000,9,9,5,1,4,6,20,\n" + "180,3000,9,9,7")
    path = plots.learning_curve(tmp_path)
    assert path == tmp_path / "learning_curve.png"
    assert imread(path).shape[2] == 4
    minutes, frames = lines_of(figures[0], 0), lines_of(figures[0], 1)
    assert minutes == {
        "training, greediest quarter of ε": ([1, 2, 3], [1, 2, 3]),
        "evaluation, mean": ([2], [5]),
        "_": ([2], [5]),
    }
    assert frames["evaluation, mean"] == ([2000], [5])
    assert frames["training, greediest quarter of ε"][0] == [1000, 2000, 3000]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evaluations.csv", "learning_curve.png", "metrics.jsonl"]


def test_of_a_stretch_done_twice_the_later_account_is_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    told = [(60, 1), (120, 2), (180, 3), (120, 9), (240, 4)]
    rows = [{"time_s": t, "frames": t, "episode_return_band_3": y} for t, y in told]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    plots.learning_curve(tmp_path)
    assert lines_of(figures[0], 0) == {"training, most exploring quarter": ([1, 2, 4], [1, 9, 4])}


@pytest.mark.parametrize("content", [None, "", HEADER, HEADER + "1,2", "\0\0\0\n", "nonsense\n[1]\n"])
def test_files_without_data_give_no_picture(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        for name in ("metrics.jsonl", "evaluations.csv", "memory.csv"):
            (tmp_path / name).write_text(content)
    assert plots.learning_curve(tmp_path) is None
    assert plots.memory_plot(tmp_path / "memory.csv", tmp_path / "memory.png") is None
    assert not list(tmp_path.glob("*.png"))


def test_no_band_is_drawn_between_two_evaluations(tmp_path: Path, figures: list[Figure]) -> None:
    (tmp_path / "evaluations.csv").write_text(HEADER + "60,1000,9,9,5,1,4,6,20,\n" + "180,3000,9,9,7,1,2,9,20,\n")
    plots.learning_curve(tmp_path)
    (bars,) = figures[0].axes[0].collections
    assert isinstance(bars, LineCollection) and bars.get_label() == "evaluation, worst to best episode"
    assert [segment.tolist() for segment in bars.get_segments()] == [[[1, 4], [1, 6]], [[3, 2], [3, 9]]]


def test_a_single_row_can_be_seen(tmp_path: Path, figures: list[Figure]) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"time_s": 3, "frames": 9, "episode_return_band_0": 1}\n')
    plots.learning_curve(tmp_path)
    assert figures[0].axes[0].get_lines()[0].get_marker() == "."


@pytest.mark.parametrize(
    ("env_id", "x", "y"),
    [
        ("CartPole-v1", "environment steps", "episode return"),
        ("ALE/Pong-v5", "emulator frames", "episode return (game score)"),
    ],
)
def test_the_axes_are_called_as_the_environment_has_it(
    tmp_path: Path, figures: list[Figure], env_id: str, x: str, y: str
) -> None:
    (tmp_path / "config.yaml").write_text(f"env: {{id: {env_id}}}\n")
    (tmp_path / "metrics.jsonl").write_text('{"time_s": 3, "frames": 9, "episode_return_band_0": 1}\n')
    plots.learning_curve(tmp_path)
    by_time, by_frames = figures[0].axes
    assert (by_frames.get_xlabel(), by_time.get_ylabel()) == (x, y)


MEMORY = "time_s,process,pid,resident_bytes\n"


def memory_lines(*samples: tuple[float, str, int, float]) -> str:
    return MEMORY + "".join(f"{t},{name},{pid},{int(mib * 2**20)}\n" for t, name, pid, mib in samples)


def test_memory_adds_up_processes_of_one_name(tmp_path: Path, figures: list[Figure]) -> None:
    text = memory_lines(
        (60, "ActorNode", 1, 100), (60, "ActorNode", 2, 50), (60, "driver", 3, 10), (120, "driver", 3, 20)
    )
    (tmp_path / "m.csv").write_text(text + "120,ActorNode,1,9999")
    plots.memory_plot(tmp_path / "m.csv", tmp_path / "out" / "m.png")
    assert lines_of(figures[0], 0) == {"total": ([1, 2], [160, 20])}
    labels = [str(c.get_label()) for c in figures[0].axes[0].collections]
    assert labels == ["ActorNode (2)", "driver"]
    assert (tmp_path / "out" / "m.png").stat().st_size > 5000


def test_memory_of_a_resumed_run(tmp_path: Path, figures: list[Figure]) -> None:
    (tmp_path / "m.csv").write_text(
        memory_lines((60, "driver", 1, 1), (120, "driver", 1, 2), (180, "driver", 1, 3), (120, "driver", 9, 5))
    )
    plots.memory_plot(tmp_path / "m.csv", tmp_path / "m.png")
    assert lines_of(figures[0], 0) == {"total": ([1, 2], [1, 5])}


def test_the_smallest_of_many_processes_go_together(tmp_path: Path, figures: list[Figure]) -> None:
    (tmp_path / "m.csv").write_text(memory_lines(*((60, f"p{i}", i, i) for i in range(1, 13))))
    plots.memory_plot(tmp_path / "m.csv", tmp_path / "m.png")
    labels = [str(c.get_label()) for c in figures[0].axes[0].collections]
    assert labels == [*(f"p{i}" for i in range(12, 4, -1)), "others"]
    assert np.isclose(lines_of(figures[0], 0)["total"][1][0], sum(range(1, 13)))
