"""Several runs in one picture: which are one curve, its mean and band, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from apex_ray.cli import main
from apex_ray.report import compare
from apex_ray.report.metrics import EVALUATION_COLUMNS
from tests.apex_ray.runs import cartpole
from trainkit.config import to_yaml
from trainkit.runs import create_run

HEADER = ",".join(EVALUATION_COLUMNS) + "\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APEX_RUNS_DIR", raising=False)
    return tmp_path


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    drawn: list[Figure] = []
    save = compare.save
    monkeypatch.setattr(compare, "save", lambda figure, path: save(drawn.append(figure) or figure, path))
    return drawn


def made(returns: dict[int, float], evaluations: dict[int, float] | None = None, **sections: Any) -> str:
    """A run with these training returns and evaluations by thousands of frames, 100 frames a second."""
    run = create_run("runs", "run", to_yaml(cartpole(**sections)))
    rows = [{"time_s": 10.0 * x, "frames": 1000 * x, "episode_return": y} for x, y in returns.items()]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = returns if evaluations is None else evaluations
    (run / "evaluations.csv").write_text(
        HEADER + "".join(f"{10 * x},{1000 * x},1,1,{y},0,{y},{y},1,\n" for x, y in known.items())
    )
    return str(run)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def means(figure: Figure, panel: int) -> list[tuple[list[float], list[float]]]:
    """The thick lines, which are means, without those of the legend."""
    lines = [line for line in figure.axes[panel].get_lines() if line.get_linewidth() > 1.5 and len(line.get_xdata())]
    return [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in lines]


def band(figure: Figure, panel: int, x: float) -> tuple[float, float]:
    """The least and the greatest y of the only band at x."""
    (filled,) = figure.axes[panel].collections
    corners = filled.get_paths()[0].vertices
    ys = [float(y) for at, y in corners if at == x]
    return min(ys), max(ys)


def test_runs_that_differ_only_in_seed_are_one_curve(figures: list[Figure]) -> None:
    """The mean where both have data; between two rows of a run lies a straight line."""
    first = made({1: 10, 3: 30, 5: 50}, seed=1)
    second = made({2: 0, 3: 10, 4: 20}, seed=2, stop={"after_s": 7.0}, name="other")
    assert main(["plot", first, second]) == 0
    (figure,) = figures
    assert legend(figure) == ["apex (2 runs: mean, band min to max)"]
    x, y = [2000, 3000, 4000], [(20 + 0) / 2, (30 + 10) / 2, (40 + 20) / 2]
    hours = [20 / 3600, 30 / 3600, 40 / 3600]
    assert [means(figure, panel) for panel in range(4)] == [[(x, y)], [(pytest.approx(hours), y)]] * 2
    assert band(figure, 0, 2000) == (0, 20) and band(figure, 2, 4000) == (20, 40)
    assert Path("runs", "comparison.png").stat().st_size > 5000


def test_the_legend_says_what_differs(figures: list[Figure], capsys: pytest.CaptureFixture[str]) -> None:
    runs = [made({1: 1, 2: n}, seed=seed, td={"n_step": n}) for n in (1, 3) for seed in (1, 2)]
    runs.append(made({1: 5}, td={"n_step": 3}, env={"kwargs": {"sutton_barto_reward": True}}))
    assert main(["plot", *runs, "--out", "pictures/mine.png"]) == 0
    assert legend(figures[0]) == [
        "td.n_step 1, env.kwargs.sutton_barto_reward null (2 runs: mean, band min to max)",
        "td.n_step 3, env.kwargs.sutton_barto_reward null (2 runs: mean, band min to max)",
        "td.n_step 3, env.kwargs.sutton_barto_reward true (1 run)",
    ]
    assert capsys.readouterr().out == "pictures/mine.png\n"


def test_by_puts_runs_that_share_a_value_in_one_curve(figures: list[Figure]) -> None:
    runs = [made({1: 1}, td={"n_step": n}, learner={"batch_size": b}) for n in (1, 3) for b in (8, 16)]
    assert main(["plot", *runs, "--by", "td.n_step"]) == 0
    assert [label.partition(" (")[0] for label in legend(figures[0])] == ["td.n_step 1", "td.n_step 3"]
    assert figures[0].get_suptitle() == "4 runs of CartPole-v1\nruns of a curve differ also in learner.batch_size"


def test_of_five_runs_the_band_is_a_bootstrap_of_the_mean(figures: list[Figure]) -> None:
    assert main(["plot", *(made({1: 10 * y, 2: 10 * y}, seed=y) for y in range(5))]) == 0
    assert legend(figures[0]) == ["apex (5 runs: mean, band 95% bootstrap interval of the mean)"]
    low, high = band(figures[0], 0, 1000)
    # The mean of five draws from 0, 10, 20, 30, 40 has a standard deviation of 14.1 / sqrt(5) = 6.3.
    assert low == pytest.approx(20 - 1.96 * 6.3, abs=1.5) and high == pytest.approx(20 + 1.96 * 6.3, abs=1.5)
    assert means(figures[0], 0) == [([1000, 2000], [20, 20])]


def test_runs_that_never_overlap_have_no_mean_and_are_drawn(figures: list[Figure]) -> None:
    assert main(["plot", made({1: 1}, seed=1), made({2: 2}, seed=2)]) == 0
    assert means(figures[0], 0) == []
    lines = [line for line in figures[0].axes[0].get_lines() if len(line.get_xdata())]
    assert [(list(line.get_xdata()), line.get_marker()) for line in lines] == [([1000], "."), ([2000], ".")]


def test_a_run_without_numbers_is_told_and_left_out(figures: list[Figure], capsys: pytest.CaptureFixture[str]) -> None:
    empty, young, whole = made({}), made({1: 1}, {}), made({1: 1})
    assert main(["plot", empty, young, whole]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"{empty} has nothing to draw yet", f"{young} has no evaluation yet"]
    assert figures[0].get_suptitle() == "2 runs of CartPole-v1"
    assert main(["plot", empty, made({})]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no run holds anything yet that could be drawn"
    assert len(figures) == 1


def test_a_wrong_command_line_exits_2_with_one_line_and_draws_nothing(
    capsys: pytest.CaptureFixture[str], figures: list[Figure]
) -> None:
    one, two, other = made({1: 1}), made({1: 1}), made({1: 1}, env={"id": "Acrobot-v1"})
    for words, told in (
        ([], "no run; expected"),
        ([one, other], f"different environments don't compare: CartPole-v1 ({one}), Acrobot-v1 ({other}); expected"),
        ([one, two, "--by", "td.nstep"], "--by 'td.nstep': no such setting. Did you mean 'td.n_step'?"),
        ([one, f"{one}/", "--by", "td.n_step"], "--by is of several runs, and one was given"),
        ([one, "--out", "x.png"], "--out is of several runs"),
        ([one, two, "--out", "x.gif"], "--out 'x.gif': expected a file name that ends in .png"),
        ([one, "runs/none"], "'runs/none' does not exist"),
    ):
        assert main(["plot", *words]) == 2, words
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and told in err
    assert figures == []
