"""From a file to windows to forecasts: off-by-one against futures that are known exactly, and files with mistakes."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm.config import ForecastConfig, ModelConfig, TrainingConfig
from lstm.forecasting import Forecaster, ahead, backtest, beside_start, intervals
from lstm.learning import Learner, one_worker
from lstm.network import Network, build
from lstm.tasks.forecast import Forecast
from lstm.tasks.starts import seasonal_naive
from lstm.tasks.table import read_table
from trainkit.errors import UserError

HORIZON, CONTEXT = 4, 10


def config(path, **settings):
    defaults = {"horizon": HORIZON, "context": CONTEXT, "validation": 6, "test": 8}
    return ForecastConfig(path=str(path), **(defaults | settings))


@pytest.fixture
def counting(tmp_path):
    """Values 0, 1, 2, ...: each is its own place, so that nothing can be a step off unseen."""
    frame = pd.DataFrame({"date": pd.date_range("2000-01-01", periods=80, freq="MS"), "y": np.arange(80.0)})
    frame["x"], frame["z"] = frame.y + 1_000, frame.y + 2_000
    frame.to_csv(tmp_path / "counting.csv", index=False)
    return tmp_path / "counting.csv"


def test_a_window_holds_the_steps_that_it_says_and_nothing_of_the_future(counting):
    task = Forecast(config(counting, targets=("y",), past_covariates=("x",), future_covariates=("z",), season=3), 4, 0)
    origin = 50
    w = task.window(0, origin)
    told = w.targets * w.scale + w.level
    np.testing.assert_allclose(told, np.arange(origin - CONTEXT, origin + HORIZON))
    shown, known, base, future, place = w.inputs[:, :5].T
    np.testing.assert_allclose(shown[:CONTEXT] * w.scale + w.level, told[:CONTEXT])
    assert not shown[CONTEXT:].any() and not known[CONTEXT:].any() and known[:CONTEXT].all()
    expected = [*np.arange(origin - CONTEXT, origin) - 3, 47, 48, 49, 47]  # a season before; then the last one again
    np.testing.assert_allclose(base * w.scale + w.level, expected)
    np.testing.assert_allclose(future, [0] * CONTEXT + [1] * HORIZON)
    np.testing.assert_allclose(place[CONTEXT:], [0.25, 0.5, 0.75, 1])
    past, past_known, ahead_, ahead_known = w.inputs[:, 5:9].T
    assert past_known.tolist() == [1] * CONTEXT + [0] * HORIZON and not past[CONTEXT:].any()
    assert ahead_known.all() and np.all(np.diff(ahead_) > 0), "known for the horizon too"


@given(st.integers(12, 72), st.integers(0, 99))
@settings(max_examples=20)
def test_no_input_depends_on_a_value_from_its_origin_on(origin, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=80).cumsum()
    windows = []
    for later in (0.0, 99.0):
        task = _task_of(np.where(np.arange(80) >= origin, values + later, values))
        windows.append(task.window(0, origin))
    np.testing.assert_array_equal(windows[0].inputs, windows[1].inputs)
    np.testing.assert_array_equal(windows[0].base, windows[1].base)
    assert (windows[0].level, windows[0].scale) == (windows[1].level, windows[1].scale)


def _task_of(values, **settings):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.csv"
        times = pd.date_range("2000-01-01", periods=len(values), freq="MS")
        pd.DataFrame({"date": times, "y": values}).to_csv(path, index=False)
        return Forecast(config(path, **settings), 16, 0)


class Oracle(Network):
    """Says the true distance from the base, which it reads from a table of windows: any step off would show."""

    def __init__(self, task):
        super().__init__(ModelConfig(hidden=2), task.shape)
        self.task = task

    def forward(self, inputs, state=None, lengths=None):
        out = torch.zeros(len(inputs), inputs.shape[1], self.shape.outputs)
        for row, given_inputs in zip(out, inputs, strict=True):
            for o in range(self.task.first, len(self.task.table.series[0].values) - HORIZON + 1):
                w = self.task.window(0, o)
                if np.allclose(w.inputs, given_inputs, atol=1e-5):
                    row[:] = torch.from_numpy(w.targets - w.base)[:, None]
        return out, ()


def test_right_outputs_become_right_forecasts_of_the_right_steps():
    values = np.random.default_rng(0).normal(size=70).cumsum()
    task = _task_of(values)
    forecaster = Forecaster([Oracle(task)], task)
    assert np.abs(forecaster.shifts(0, 66)).max() < 1e-5
    origins = task.test_origins()
    assert origins[0] == (0, 62) and origins[-1] == (0, 66), "all horizons lie in the last 8 steps"
    said = forecaster.quantiles(origins)
    for row, (_, o) in zip(said, origins, strict=True):
        np.testing.assert_allclose(row[:, 1], values[o : o + HORIZON], atol=1e-4)
    score = backtest(forecaster, task)["y"]
    assert score.mase < 1e-3 < score.mase_naive and score.windows == 5


def test_it_learns_a_series_whose_future_is_known():
    """A sawtooth that grows: the seasonal naive is a step behind, and a forecast that is one off would be far off."""
    values = np.arange(120) % 7 * 3.0 + np.arange(120) * 0.5
    task = _task_of(values, season=7, calendar=False, context=14)
    training = TrainingConfig(steps=250, batch=16, learning_rate=1e-2)
    network = build(ModelConfig(hidden=24), task.shape, 0)
    learner = Learner(network, network, task, training, 1, one_worker)
    for step in range(training.steps):
        learner.update(task.batch(step))
    forecaster = Forecaster([network], task)
    score = backtest(forecaster, task)["y"]
    assert score.mase_naive == pytest.approx(1.0) and score.mase < 0.3
    said = ahead(forecaster, task)
    assert said["date"].tolist() == list(pd.date_range("2010-01-01", periods=HORIZON, freq="MS"))
    coming = np.arange(120, 124) % 7 * 3.0 + np.arange(120, 124) * 0.5
    np.testing.assert_allclose(said["q0.5"], coming, atol=1.5)  # neighbours are 3.5 or more apart


class Certain(Network):
    """Says that the base comes, without a doubt."""

    def forward(self, inputs, state=None, lengths=None):
        return torch.zeros(len(inputs), inputs.shape[1], self.shape.outputs), ()


def test_quantiles_are_calibrated_on_horizons_that_are_over():
    values = np.random.default_rng(0).normal(size=400)
    task = _task_of(values, validation=100, test=200, season=1)
    forecaster = Forecaster([Certain(ModelConfig(hidden=2), task.shape)], task)
    assert backtest(forecaster, task)["y"].coverage["80%"] == pytest.approx(0.8, abs=0.05)
    origin = 250
    changed = np.where(np.arange(400) >= origin, values * 9, values)
    later = Forecaster(
        [Certain(ModelConfig(hidden=2), task.shape)], _task_of(changed, validation=100, test=200, season=1)
    )
    for o in (100, 103, 104, 200, origin):
        np.testing.assert_allclose(forecaster.shifts(0, o), later.shifts(0, o), err_msg="knows what is to come")
    assert np.array_equal(forecaster.shifts(0, 100), forecaster.shifts(0, 103)), "only what was learned from is known"
    assert forecaster.shifts(0, 100)[2] > 1 and (forecaster.shifts(0, 104)[2] >= forecaster.shifts(0, 103)[2])
    assert not np.allclose(forecaster.shifts(0, origin + 10), later.shifts(0, origin + 10)), "and learns what came"


def test_shifts_by_hand():
    """Ten windows of one step that erred by 0, 1, -2, 3, ...: mirrored quantiles move by one distance."""
    task = _task_of(np.zeros(40), horizon=1, validation=10, test=10, season=1, quantiles=(0.1, 0.25, 0.5, 0.9))
    forecaster = Forecaster([Certain(ModelConfig(hidden=2), task.shape)], task)
    errors = np.array([0.0, 1, -2, 3, -4, 5, -6, 7, -8, 9])
    apart = np.array([-1.0, 0, 0, 1])  # said by the network: a width of its own that values below 1 lie in
    forecaster._calibration = [(20, (errors[:, None] - apart)[:, None, :], np.zeros((0, 1, 4)))]
    # Outside of the outer two by -1, 0, 1, ..., 8: 80% of them lie at or below 6.2. Alone: a quarter below -3.5.
    np.testing.assert_allclose(forecaster.shifts(0, 30), [-6.2, -3.5, 0, 6.2])
    np.testing.assert_allclose(forecaster.shifts(0, 22), [0.2, 0.25, 0, -0.2], err_msg="two windows are over")
    forecaster._calibration = [(*forecaster._calibration[0][:2], np.full((5, 1, 4), 3.0))]
    np.testing.assert_allclose(forecaster.shifts(0, 22), [-3, 0.25, 0, 3], err_msg="what was learned from needs more")
    np.testing.assert_allclose(forecaster.shifts(0, 20), [-3, 0, 0, 3], err_msg="and is all that is known at first")


def test_naive_forecasts_by_hand():
    values = np.array([1.0, 2, 3, 4, 5, np.nan, 7])
    assert seasonal_naive(values, 7, 5, 3).tolist() == [5, 5, 7, 5, 5], "a missing value is the one before it"
    assert seasonal_naive(values, 2, 3, 3).tolist() == [2, 2, 2], "less than a season is known: the last value"


def test_the_scale_of_an_error_is_of_what_is_learned_from():
    """A year of months and more is learned from, or less: then there is no scale, and no look into the test."""
    values = np.arange(100.0) ** 2
    task = _task_of(values, season=12)
    end = task.train_end(task.table.series[0])
    past = values[:end]
    scale = np.abs(past[12:] - past[:-12]).mean()
    said = task.mase([(0, end)], lambda i, o: values[o : o + HORIZON] + 3)
    assert said == pytest.approx(3 / scale)
    short = _task_of(values[:50], season=40)
    assert short.train_end(short.table.series[0]) < 40
    assert np.isnan(short.mase(short.validation_origins(), short.started))


def test_a_series_without_a_value_to_learn_from_is_forecast_beside_the_others(tmp_path):
    """It has one value, and then none before its validation: there is no window of it to calibrate on."""
    values = np.random.default_rng(0).normal(size=80)
    late = np.where(np.arange(80) < 66, np.nan, values)
    late[0] = 1.0
    times = pd.date_range("2000-01-01", periods=80, freq="MS")
    pd.DataFrame({"date": times, "y": values, "late": late}).to_csv(tmp_path / "a.csv", index=False)
    task = Forecast(config(tmp_path / "a.csv"), 4, 0)
    (late,) = [i for i, s in enumerate(task.table.series) if s.name == "late"]
    assert not task.learned_origins(late, 100)
    network = Certain(ModelConfig(hidden=2), task.shape)
    forecaster = Forecaster([network], task)
    assert np.isfinite(ahead(forecaster, task)["q0.5"]).all() and set(backtest(forecaster, task)) == {"y", "late"}
    assert "MASE on validation " in beside_start(network, task)


class Seen(list):
    """Counts how often it is gone through."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def test_many_series_are_not_gone_through_for_each_of_them(tmp_path):
    times = pd.date_range("2000-01-01", periods=80, freq="MS")
    columns = {f"y{k}": np.random.default_rng(k).normal(size=80) for k in range(20)}
    pd.DataFrame({"date": times, **columns}).to_csv(tmp_path / "a.csv", index=False)
    task = Forecast(config(tmp_path / "a.csv"), 4, 0)
    origins = Seen(task.validation_origins())
    task.mase(origins, task.started)
    tested = Seen(task.test_origins())
    backtest(Forecaster([Certain(ModelConfig(hidden=2), task.shape)], task), task, tested)
    assert (origins.times, tested.times) == (1, 1)


def test_coverage_by_hand():
    quantiles = np.array([[[0.0, 1, 2], [0, 1, 2]], [[0, 1, 2], [0, 1, 2]]])
    actual = np.array([[1.0, 3], [np.nan, 0]])
    assert intervals(quantiles, actual, (0.1, 0.5, 0.9)) == [("80%", pytest.approx(2 / 3))]


def test_missing_rows_and_values_are_unknown_and_sorted_rows_are_told(tmp_path):
    times = pd.date_range("2000-01-01", periods=60, freq="D")
    frame = pd.DataFrame({"Date": times, "Y": np.arange(60.0)})
    frame.loc[7, "Y"] = np.nan
    frame.drop(index=[20, 21]).sample(frac=1, random_state=0).to_csv(tmp_path / "a.csv", index=False, sep=";")
    table = read_table(config(tmp_path / "a.csv"))
    (series,) = table.series
    assert table.frequency == "D" and table.season == 7 and len(series.values) == 60
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [7, 20, 21]
    assert "sorted" in table.notes[0] and "2 of 60 steps" in table.notes[1] and "3 of 60 values" in table.notes[2]
    window = Forecast(config(tmp_path / "a.csv"), 4, 0).window(0, 25)
    known = window.inputs[:CONTEXT, 1].astype(bool)
    assert (~known).nonzero()[0].tolist() == [5, 6] and np.isfinite(window.inputs).all()


def test_long_format_parquet_and_the_future_of_covariates(tmp_path):
    times = pd.date_range("2000-01-01", periods=44, freq="h")
    parts = [pd.DataFrame({"date": times, "shop": s, "sold": np.arange(44.0) * k, "price": 1.0 + np.arange(44) % 3})
             for k, s in ((1, "a"), (2, "b"))]  # fmt: skip
    frame = pd.concat(parts)
    frame.loc[frame.date >= times[40], "sold"] = np.nan  # rows of the future
    frame.to_parquet(tmp_path / "long.parquet")
    task = Forecast(
        config(tmp_path / "long.parquet", series="shop", targets=("sold",), future_covariates=("price",)), 4, 0
    )
    assert [s.name for s in task.table.series] == ["a", "b"] and [s.known for s in task.table.series] == [40, 40]
    assert task.window(1, 40).inputs[CONTEXT:, 6].all(), "the price of the horizon is known"
    said = ahead(Forecaster([Network(ModelConfig(hidden=4), task.shape)], task), task)
    assert said["date"].tolist() == list(times[40:]) * 2 and said["series"].tolist() == ["a"] * 4 + ["b"] * 4


def test_a_constant_series_is_forecast_as_it_is():
    task = _task_of(np.full(60, 7.0))
    assert any("constant at 7" in note for note in task.table.notes)
    forecaster = Forecaster([Network(ModelConfig(hidden=4), task.shape)], task)
    score = backtest(forecaster, task)["y"]
    assert np.isfinite(forecaster.quantiles(task.test_origins())).all() and np.isnan(score.mase)


def test_any_csv_of_prices(tmp_path):
    days = pd.bdate_range("2001-01-01", periods=400).delete([100, 101, 250])
    rng = np.random.default_rng(0)
    close = 100 * np.exp(rng.normal(0, 0.01, len(days)).cumsum())
    prices = pd.DataFrame({"Date": days, "Open": close, "High": close * 1.01, "Low": close * 0.99, "Close": close,
                           "Volume": rng.integers(1, 9, len(days)) * 1e6})  # fmt: skip
    prices.to_csv(tmp_path / "p.csv", index=False)
    from lstm.config import PRESETS

    task = Forecast(PRESETS.load("prices", [f"forecast.path={tmp_path / 'p.csv'}"]).config.forecast, 4, 0)
    assert [s.name for s in task.table.series] == ["close"] and len(task.table.series[0].values) == 397
    np.testing.assert_allclose(task.table.series[0].values, np.log(close), atol=1e-9)
    said = ahead(Forecaster([Network(ModelConfig(hidden=4), task.shape)], task), task)
    assert len(said) == 5 and 50 < said["q0.5"].mean() < 200 and (said["date"].dt.day_of_week < 5).all()


GOOD = "date,y\n" + "".join(f"2000-01-{d:02d},{d}\n" for d in range(1, 31))


@pytest.mark.parametrize(
    ("content", "extra", "told"),
    [
        (GOOD + "2000-01-05,3\n", {}, "a.csv:32: 2000-01-05 00:00 is there twice, first at a.csv:6"),
        (GOOD.replace("2000-01-09", "soon"), {}, "a.csv:10: date = 'soon' is no time"),
        (GOOD.replace(",9\n", ",nine\n"), {}, "a.csv:10: y = 'nine' is no number"),
        (GOOD[:124], {}, "y has 9 values; expected at least 25"),
        (GOOD, {"targets": ("yy",)}, "has no column 'yy'. Did you mean 'y'?"),
        (GOOD, {"time": "when"}, "has no column 'when'"),
        (GOOD.encode("utf-16"), {}, "is not utf-8 text"),
        (GOOD, {"encoding": "latin-15x"}, "is unknown"),
        ("", {}, "can't be read"),
        ("date,y\n", {}, "has a head and no rows"),
        ("date,y\n2000-01-01,\n2000-01-02,\n2000-01-03,\n", {}, "y has no number in it"),
        ("date,y\n2000-01-01,1\n2000-01-02,1\n2000-03-09,1\n2000-07-01,3\n", {}, "no regular step between the times"),
        (GOOD.replace(",7\n", ",-7\n"), {"transform": "log"}, "y has the value -7"),
    ],
)  # fmt: skip
def test_a_wrong_table_exits_2_with_one_line(tmp_path, content, extra, told):
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "a.csv").write_bytes(raw)
    with pytest.raises(UserError) as error:
        Forecast(config(tmp_path / "a.csv", **extra), 4, 0)
    assert told in str(error.value)


def test_there_is_no_such_file(tmp_path):
    (tmp_path / "sales.csv").write_text(GOOD)
    with pytest.raises(UserError, match=r"does not exist; expected a .csv or .parquet. Did you mean .*sales.csv"):
        read_table(config(tmp_path / "sale.csv"))


@pytest.mark.parametrize("name", ["co2", "el_nino", "sunspots", "us_economy"])
def test_series_that_came_with_the_package(name):
    table = read_table(config(f"example/{name}.csv"))
    season = {"co2": 12, "el_nino": 12, "sunspots": 1, "us_economy": 4}[name]
    assert table.season == season and all(s.known > 200 for s in table.series)


def test_the_mean_of_networks_is_the_mean_of_what_each_says():
    task = _task_of(np.random.default_rng(1).normal(size=200), validation=50, test=50, season=1)
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        networks.append(Network(ModelConfig(hidden=4), task.shape))
    middle = task.config.quantiles.index(0.5)  # is not calibrated
    one, other, both = (
        Forecaster(some, task).quantiles([(0, 160)])[..., middle] for some in (networks[:1], networks[1:], networks)
    )
    np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-5)
    assert np.abs(one - other).max() > 0.01
