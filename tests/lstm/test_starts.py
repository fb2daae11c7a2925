"""Simple forecasts that a network starts from: by hand, without a look ahead, and chosen by what they are worth."""

import numpy as np
import pandas as pd
import pytest
import torch

from lstm.config import PRESETS, ForecastConfig, ModelConfig
from lstm.forecasting import Forecaster, backtest, beside_start
from lstm.network import Network
from lstm.tasks.fitted import Autoregression, Theta, choices, fitted, waves
from lstm.tasks.forecast import Forecast
from lstm.tasks.make import make_task, settled
from lstm.tasks.starts import NAMES, Starts

STARTS = sorted(NAMES)


def task_of(folder, values, **settings):
    times = pd.date_range("2000-01-01", periods=len(values), freq="MS")
    pd.DataFrame({"date": times, "y": values}).to_csv(folder / "a.csv", index=False)
    defaults = {"path": str(folder / "a.csv"), "horizon": 6, "context": 24, "validation": 24, "test": 12}
    return Forecast(ForecastConfig(**(defaults | {"start": "auto"} | settings)), 8, 0)


def autoregressive(n, seed=0, noise=1.0):
    """AR(2) around a season of twelve."""
    rng = np.random.default_rng(seed)
    season, x = rng.normal(0, 2, 12), rng.normal(0, 1, n + 50)
    for t in range(2, n + 50):
        x[t] = 1.3 * x[t - 1] - 0.5 * x[t - 2] + noise * x[t]
    return 50 + x[50:] + season[np.arange(n) % 12]


def test_theta_of_a_straight_line_by_hand():
    """The level is the last value (alpha 1), the drift half of the slope."""
    model = Theta(np.arange(0.0, 40.0, 2.0), 1)
    np.testing.assert_allclose(model.ahead(np.arange(0.0, 40.0, 2.0), 3), [39, 40, 41])


def test_theta_of_noise_is_nearly_its_mean_and_of_a_season_the_season():
    rng = np.random.default_rng(0)
    noise, t = rng.normal(0, 1, 300), np.arange(306)
    assert np.abs(Theta(noise, 12).ahead(noise, 6) - noise.mean()).max() < 0.5
    season = 10 * np.sin(2 * np.pi * t / 12) + 5 * np.cos(2 * np.pi * t / 6)
    seen = season[:300] + 0.1 * noise
    np.testing.assert_allclose(Theta(seen, 12).ahead(seen, 6), season[300:], atol=0.5)


def test_an_autoregression_is_found_again():
    """Without noise after its beginning every step follows from the two before and the season."""
    rng = np.random.default_rng(1)
    season, x = rng.normal(0, 2, 12), list(rng.normal(0, 5, 2))
    for t in range(2, 126):
        x.append(1.3 * x[-1] - 0.8 * x[-2] + season[t % 12])
    values = np.array(x)
    model = Autoregression(values[:120], 12)
    np.testing.assert_allclose(model.ahead(values[:120], 6), values[120:], atol=1e-5)
    # Fitted to part of the values, it goes on from all of them.
    np.testing.assert_allclose(Autoregression(values[:100], 12).ahead(values[:120], 6), values[120:], atol=1e-5)


def test_what_grows_without_end_is_held():
    values = np.concatenate([np.arange(50.0), 50 * 1.5 ** np.arange(10)])
    made = Autoregression(values, 1).ahead(values, 60)
    assert np.isfinite(made).all() and made.max() <= 2 * values.max()


def test_waves_span_every_season_and_the_criterion_refuses_too_many():
    for season in (2, 5, 12):
        whole = np.concatenate([np.ones((season, 1)), waves(np.arange(season), season, season // 2)], 1)
        assert np.linalg.matrix_rank(whole) == season == whole.shape[1]
    assert fitted(np.ones((5, 2)), np.ones(5))[1] == np.inf


@pytest.mark.parametrize("start", STARTS)
def test_no_start_knows_what_comes(start):
    values = autoregressive(120)
    values[[5, 40, 41]] = np.nan
    for origin in (1, 13, 50, 77, 96):
        other = values.copy()
        other[origin:] = 1e6
        one, two = (Starts([some], 12, 6).ahead(start, 1, 0, origin) for some in (values, other))
        np.testing.assert_array_equal(one, two)
        assert one.shape == (6,) and np.isfinite(one).all()


def test_a_long_series_of_fine_steps_is_fitted_some_hundred_times(monkeypatch):
    """A year of five minutes: not 8,760 times with a wave for each minute; never ahead, and none of old values."""
    assert max(choices(1440)) == max(choices(52)) == 26 and max(choices(24)) == 12 and max(choices(3)) == 1
    n, h = 105_120, 12
    starts = Starts([np.arange(float(n))], 288, h)
    fitted_at = dict.fromkeys(range(20, n))

    class Fit:
        def ahead(self, seen, horizon):
            return seen

    monkeypatch.setattr(starts, "_model", lambda start, series, at: fitted_at.__setitem__(origin, at) or Fit())
    for origin in fitted_at:
        starts.ahead("ar", 1, 0, origin)
    assert len(set(fitted_at.values())) < 450
    for origin, at in fitted_at.items():
        assert at <= origin < at + max(h, origin / 50 + 1)
    assert all(at == origin - origin % h for origin, at in fitted_at.items() if origin < 100 * h)


def test_the_last_season_with_its_drift_by_hand():
    values = np.array([1.0, 2, 3, 11, 12, 13, 21, 22, 23])
    starts = Starts([np.tile(values, 1)], 3, 4)
    assert starts.ahead("season", 2, 0, 9).tolist() == [16, 17, 18, 16]
    assert starts.ahead("last", 1, 0, 9).tolist() == [23] * 4
    long = Starts([np.arange(30) % 3 + 10.0 * (np.arange(30) // 3)], 3, 4)
    assert long.ahead("drift", 1, 0, 30).tolist() == [100, 101, 102, 110]


def test_the_start_that_errs_least_on_validation_is_chosen_and_told(tmp_path):
    task = task_of(tmp_path, autoregressive(400), validation=120)
    assert task.start == "ar" == min(task.start_errors, key=task.start_errors.get)[0]
    assert "start from a fitted autoregression, the best on validation (MASE: the last season " in task.describe()[-1]
    again = np.tile(np.random.default_rng(0).normal(size=12), 20)
    assert task_of(tmp_path, again, transform="none").start in ("season", "drift")


def test_a_run_keeps_the_start_that_it_learned_from(tmp_path):
    task_of(tmp_path, autoregressive(240))
    config = settled(PRESETS.load("forecast", [f"forecast.path={tmp_path / 'a.csv'}"]).config)
    assert config.forecast.start != "auto"
    auto = PRESETS.load("forecast", [f"forecast.path={tmp_path / 'a.csv'}"]).config
    assert settled(auto, make_task(auto)) == config
    fixed = Forecast(config.forecast, 8, 0)
    assert (fixed.start, fixed.seasons) == (config.forecast.start, config.forecast.seasons)
    assert ForecastConfig(path="x").start == "season", "runs of before there was a choice learned from the last season"


class Off(Network):
    """Says that the start comes, and so much more."""

    def __init__(self, task, off):
        super().__init__(ModelConfig(hidden=2), task.shape)
        self.off = off

    def forward(self, inputs, state=None, lengths=None):
        return torch.full((len(inputs), inputs.shape[1], self.shape.outputs), self.off), ()


def test_a_run_that_is_no_better_than_its_start_says_so(tmp_path):
    task = task_of(tmp_path, autoregressive(240))
    score = backtest(Forecaster([Off(task, 0.0)], task), task)["y"]
    assert score.mase == pytest.approx(score.mase_start, rel=1e-4) and score.mase_start != score.mase_naive
    assert beside_start(Off(task, 1.0), task).startswith("the network is not better than its start (MASE on ")
    rising = task_of(tmp_path, autoregressive(240) + np.arange(240.0), start="season")  # by 12 in a season
    assert beside_start(Off(rising, 0.5), rising).startswith("MASE on validation ")


def test_the_word_on_the_start_costs_a_few_batches_and_is_told_of(tmp_path):
    task, told, sizes = task_of(tmp_path, autoregressive(400), validation=200), [], []

    class Counting(Off):
        def forward(self, inputs, state=None, lengths=None):
            sizes.append(len(inputs))
            return super().forward(inputs, state, lengths)

    network = Counting(task, 0.3)
    beside_start(network, task, told.append)
    assert sizes == [64] == [len(task.validation_origins())] and told == ["beside the start: window 1 of 64"]
    forecaster, middle = Forecaster([network], task), task.config.quantiles.index(0.5)
    origins = task.validation_origins()
    np.testing.assert_allclose(forecaster.medians(origins), forecaster.quantiles(origins)[..., middle])


def test_where_no_error_has_a_scale_that_is_said(tmp_path):
    """A year that is always the same, and what is shorter than one."""
    again = np.tile(np.random.default_rng(0).normal(size=12), 20)
    for values, settings in ((again, {}), (autoregressive(90), {"season": 60})):
        task = task_of(tmp_path, values, **settings)
        assert beside_start(Off(task, 1.0), task).startswith("MASE on validation is undefined: ")
        assert "MASE on validation is undefined: " in task.describe()[-1] and "nan" not in task.describe()[-1]
