"""Files as they are found in the world: dates, zones, names and gaps are read as what they are, or refused."""

import numpy as np
import pandas as pd
import pytest

from lstm.config import PRESETS, ForecastConfig, ModelConfig
from lstm.forecasting import Forecaster, ahead
from lstm.network import Network
from lstm.tasks.forecast import Forecast
from lstm.tasks.row_times import following
from lstm.tasks.table import read_table
from lstm.tasks.times import read_times
from trainkit.errors import UserError

DAYS = pd.date_range("2022-01-01", periods=120, freq="D")
AUTUMN = pd.date_range("2024-10-20", periods=240, freq="h", tz="Europe/Berlin")
MONTHS = pd.date_range("2000-01-01", periods=120, freq="MS")
BEFORE_2000 = pd.date_range("1990-01-01", periods=120, freq="MS")


def config(path, **settings):
    defaults = {"horizon": 4, "context": 10, "validation": 6, "test": 8}
    return ForecastConfig(path=str(path), **(defaults | settings))


def file_of(folder, times, name="a.csv", **columns):
    columns = columns or {"y": np.arange(float(len(times)))}
    frame = pd.DataFrame({"date": times, **columns})
    frame.to_csv(folder / name, index=False) if name.endswith("csv") else frame.to_parquet(folder / name)
    return folder / name


def said_by(task):
    return ahead(Forecaster([Network(ModelConfig(hidden=2), task.shape)], task), task)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (DAYS.strftime("%Y%m%d"), DAYS),
        (DAYS.strftime("%d%m%Y"), DAYS),
        (MONTHS.strftime("%Y%m"), MONTHS),
        (DAYS.strftime("%y%m%d"), DAYS),
        (pd.date_range("1700-01-01", periods=120, freq="YS").year, pd.date_range("1700-01-01", periods=120, freq="YS")),
        *[(DAYS.as_unit(u).astype("int64"), DAYS) for u in ("s", "ms", "us", "ns")],
        (DAYS.strftime("%d/%m/%Y"), DAYS),
        (DAYS.strftime("%m/%d/%Y"), DAYS),
        (DAYS.strftime("%d.%m.%y"), DAYS),
        (DAYS.strftime("%y-%m-%d"), DAYS),
        (MONTHS.strftime("%d/%m/%Y"), MONTHS),
        (MONTHS.strftime("%m/%d/%Y"), MONTHS),
        (MONTHS.strftime("%d/%m/%Y 00:00"), MONTHS),
        (MONTHS.strftime("%b-%y"), MONTHS),
        (MONTHS.strftime("%B %Y"), MONTHS),
        (MONTHS.strftime("%Y-%m"), MONTHS),
        (BEFORE_2000.strftime("%b-%y"), BEFORE_2000),
        (DAYS.strftime("%Y/%m/%d"), DAYS),
    ],
)  # fmt: skip
def test_dates_are_read_as_what_they_are(tmp_path, times, expected):
    (series,) = read_table(config(file_of(tmp_path, times))).series
    assert list(series.times) == list(expected)


def test_dates_that_can_be_two_things_are_refused_with_both(tmp_path):
    path = file_of(tmp_path, MONTHS[:12].strftime("%d/%m/%Y"))
    with pytest.raises(UserError) as error:
        read_table(config(path))
    assert "2000-01-01 and 2000-02-01 (%d/%m/%Y) or 2000-01-01 and 2000-01-02 (%m/%d/%Y)" in str(error.value)
    (series,) = read_table(config(path, time_format="%d/%m/%Y")).series
    assert list(series.times) == list(MONTHS[:12])


@pytest.mark.parametrize(
    ("times", "extra", "told"),
    [
        (range(120), {}, "a.csv:2: the times are numbers, 0 to 119, that are no years"),
        (["10:30"] * 120, {}, "a.csv:2: date = '10:30' is no time"),
        (["31/31/2022", *DAYS[1:].strftime("%d/%m/%Y")], {}, "a.csv:2: date = '31/31/2022' is no time"),
        (["2022-01-01", *DAYS[1:].strftime("%Y-%m-%dT00:00Z")], {}, "a.csv:2: '2022-01-01' has no offset"),
        ([DAYS[0], *DAYS[1:] + pd.Timedelta(days=900)], {}, "gap is from 2022-01-01 (a.csv:2) to 2024-06-20 (a.csv:3)"),
        (DAYS.strftime("%d/%m/%Y"), {"time_format": "%m/%d/%Y"}, "a.csv:14: date = '13/01/2022' is no time; expected"),
        (DAYS, {"frequency": "days"}, "forecast.frequency = 'days' is unknown"),
        (DAYS, {"targets": ("date",)}, "forecast.targets: 'date' is in forecast.time already"),
        (DAYS, {"targets": ("y", "y")}, "forecast.targets: 'y' is in forecast.targets already"),
        (AUTUMN.tz_localize(None), {}, "a.csv:173: 2024-10-27 02:00 is there twice, first at a.csv:172"),
    ],
)  # fmt: skip
def test_wrong_times_are_refused_with_one_line(tmp_path, times, extra, told):
    with pytest.raises(UserError) as error:
        read_table(config(file_of(tmp_path, times), **extra))
    assert told in str(error.value)


@pytest.mark.parametrize("separator", [",", ";"])
def test_lines_are_those_of_the_file(tmp_path, separator):
    """Blank lines are no rows, also before the head; a quoted text may go on over two."""
    head = separator.join(["date", "note", "y"])
    text = f'\n \n{head}\n\n2022-01-01;"a\nb";1\n   \n2022-01-02;c;x\n'.replace(";", separator)
    (tmp_path / "x: y, z.csv").write_text(text)
    with pytest.raises(UserError, match=r"^x: y, z\.csv:8: y = 'x' is no number"):
        read_table(config(tmp_path / "x: y, z.csv", targets=("y",)))
    days = "".join(f"{day:%Y-%m-%d};a;1\n" for day in DAYS[[*range(12), 70]]).replace(";", separator)
    (tmp_path / "x: y, z.csv").write_text(f"{head}\n\n{days}")
    with pytest.raises(UserError, match=r"^x: y, z\.csv: 71 steps of 'D' .* from 2022-03-12 \(x: y, z\.csv:15\)"):
        read_table(config(tmp_path / "x: y, z.csv", targets=("y",)))


def test_a_stray_date_does_not_ask_for_a_grid_over_the_ages(tmp_path):
    """The year 1970 among seconds of 2024: 1.7e9 steps."""
    times = [pd.Timestamp("1970-01-01"), *pd.date_range("2024-01-01", periods=100, freq="s")]
    for extra in ({}, {"frequency": "s"}):
        with pytest.raises(UserError, match=r"1,704,067,300 steps of 's' for 101 rows.*1970-01-01 \(a.csv:2\)"):
            read_table(config(file_of(tmp_path, times), **extra))


def test_columns_that_differ_by_capitals_only(tmp_path):
    with pytest.raises(UserError, match="has the columns 'Y' and 'y', which are one name"):
        read_table(config(file_of(tmp_path, DAYS, Y=1.0, y=2.0)))


def test_unknown_formats_and_zones_are_refused(tmp_path):
    for setting, told in (
        ("time_format=unixs", "Did you mean 'unix_s'"),
        ("time_zone=Europe/Berln", "'Europe/Berlin'"),
    ):
        with pytest.raises(UserError, match=told):
            PRESETS.load("forecast", ["forecast.path=x.csv", f"forecast.{setting}"])


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_names_of_series_are_text(tmp_path, name):
    shops = ["NA", "None", "null", "nan", "007", "EU"]
    frame = pd.concat([pd.DataFrame({"date": DAYS, "shop": s, "y": np.arange(120.0)}) for s in [*shops, ""]])
    frame.to_csv(tmp_path / name, index=False) if name.endswith("csv") else frame.to_parquet(tmp_path / name)
    table = read_table(config(tmp_path / name, series="shop"))
    assert [s.name for s in table.series] == sorted(shops)
    assert any("120 rows have no name in 'shop'" in note for note in table.notes)


def test_an_index_without_a_name_is_no_series(tmp_path):
    frame = pd.DataFrame({"date": DAYS, "y": np.arange(120.0)})
    frame.to_parquet(tmp_path / "plain.parquet")
    frame[frame.index != 5].to_parquet(tmp_path / "kept.parquet")  # an index that is stored as a column
    frame.to_csv(tmp_path / "saved.csv")
    frame.reset_index().to_csv(tmp_path / "counted.csv", index=False)
    frame.set_index("date").to_parquet(tmp_path / "named.parquet")
    frame.set_index("date").rename_axis(None).to_parquet(tmp_path / "times.parquet")
    frame.set_index("date").rename_axis(None).to_csv(tmp_path / "times.csv")
    for path in sorted(tmp_path.iterdir()):
        table = read_table(config(path))
        assert [s.name for s in table.series] == ["y"] and table.series[0].times[0] == DAYS[0], path.name
        assert len([n for n in table.notes if "left out" in n]) == (path.name in ("saved.csv", "counted.csv"))


def test_an_hour_is_an_hour_and_a_day_a_local_day(tmp_path):
    hours = pd.date_range("2024-03-25", periods=240, freq="h", tz="Europe/Berlin")
    days = pd.date_range("2024-03-01", periods=120, tz="Europe/Berlin")
    later_hour, later_day = hours[-1] + pd.Timedelta(hours=1), pd.Timestamp("2024-06-29", tz="Europe/Berlin")
    offsets, zone = [t.isoformat() for t in hours], {"time_zone": "Europe/Berlin"}
    for path, extra, coming in (
        (file_of(tmp_path, hours, "h.parquet"), {}, later_hour),
        (file_of(tmp_path, offsets, "h.csv"), {}, later_hour),
        (file_of(tmp_path, offsets, "h.csv"), zone, later_hour),
        (file_of(tmp_path, hours.tz_localize(None), "local.csv"), zone, later_hour),
        (file_of(tmp_path, days, "d.parquet"), {}, later_day),
        (file_of(tmp_path, [t.isoformat() for t in days], "d.csv"), zone, later_day),
        (file_of(tmp_path, [t.isoformat() for t in days], "d.csv"), {}, later_day.tz_localize(None)),
    ):
        task = Forecast(config(path, **extra), 4, 0)
        assert not np.isnan(task.table.series[0].values).any()
        said = said_by(task)["date"]
        assert said[0] == coming and said[0].isoformat() == coming.isoformat(), (path.name, extra)
    (series,) = read_table(config(file_of(tmp_path, AUTUMN.tz_localize(None)), **zone)).series
    assert len(series.values) == 240 and series.times[-1] - series.times[0] == pd.Timedelta(hours=239)


@pytest.mark.parametrize("first", ["2021-03-20", "2021-10-25"])
def test_unix_times_are_of_utc(tmp_path, first):
    hours = pd.date_range(first, periods=240, freq="h", tz="Europe/Berlin")
    for unit in ("s", "ms", "us", "ns"):
        path = file_of(tmp_path, hours.as_unit(unit).astype("int64"))
        for extra in ({}, {"time_format": f"unix_{unit}"}):
            (series,) = read_table(config(path, time_zone="Europe/Berlin", **extra)).series
            assert list(series.times) == list(hours)
            (series,) = read_table(config(path, **extra)).series
            assert list(series.times) == list(hours.tz_convert(None))
    times = read_times(pd.Series(["1700000000"]), "unix_s", "Europe/Berlin", str, [])
    assert times[0].isoformat() == "2023-11-14T23:13:20+01:00"


@pytest.mark.parametrize("freq", ["h", "30min"])
def test_rows_with_the_newest_first_are_the_same_series(tmp_path, freq):
    """Local times of the autumn: the first of the two hours in the file is the later one then."""
    times = pd.date_range("2024-10-25", "2024-10-30", freq=freq, tz="Europe/Berlin")
    frame = pd.DataFrame({"date": times.tz_localize(None), "y": np.arange(float(len(times)))})
    summer = pd.date_range("2023-10-25", "2023-10-30", freq=freq, tz="Europe/Berlin")
    older = pd.DataFrame({"date": summer.tz_localize(None), "y": np.arange(float(len(summer)))})
    for name, rows in (
        ("rising", frame),
        ("falling", frame[::-1]),
        ("blocks", pd.concat([frame, older])),
        ("mixed", frame.sample(frac=1, random_state=1)),
    ):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    steps = {"time_zone": "Europe/Berlin", "steps": "rows"}
    for name in ("rising", "falling", "blocks"):
        table = read_table(config(tmp_path / f"{name}.csv", **steps))
        (series,) = table.series
        np.testing.assert_array_equal(series.values[-len(frame) :], frame["y"])
        assert list(series.times[-len(frame) :]) == list(times)
        assert any("sorted" in note for note in table.notes) == (name != "rising")
    with pytest.raises(UserError, match=r"mixed.csv:\d+: 2024-10-27 02:.0:00 is no time, or one of two"):
        read_table(config(tmp_path / "mixed.csv", **steps))


def test_the_row_of_an_unclear_local_time_is_named(tmp_path):
    """Of two autumns the first has both hours, the second only one."""
    local = pd.date_range("2022-10-29", "2023-10-31", freq="h", tz="Europe/Berlin").tz_localize(None)
    twice = np.flatnonzero(local == pd.Timestamp("2023-10-29 02:00"))
    path = file_of(tmp_path, local.delete(twice[1]))
    with pytest.raises(UserError, match=rf"a.csv:{twice[0] + 2}: 2023-10-29 02:00:00 is no time, or one of two"):
        read_table(config(path, time_zone="Europe/Berlin"))


def test_offsets_in_any_spelling(tmp_path):
    utc = AUTUMN.tz_convert("UTC")
    short = [f"{t:%Y-%m-%dT%H}{t:%z}" for t in AUTUMN]
    for times in (short, [t[:-2] for t in short], utc.strftime("%Y-%m-%dT%H:%Mz"), utc.strftime("%Y%m%dT%HZ")):
        table = read_table(config(file_of(tmp_path, times)))
        assert list(table.series[0].times) == list(AUTUMN) and table.frequency == "h", times[0]
    for times in ([f"{t:%Y-%m-%d %H}{t:%z}" for t in AUTUMN], [f"{t:%Y-%m-%d %H}+0100" for t in AUTUMN]):
        with pytest.raises(UserError, match=r"a.csv:2: '2024-10-20 00\+0.00' has no offset from UTC that we can read"):
            read_table(config(file_of(tmp_path, times)))


@pytest.mark.parametrize(
    ("spelling", "suggested"),
    [
        ("%d/%m/%Y", "%d/%m/%Y"),
        ("%d/%m/%Y, %H:%M", "%d/%m/%Y, %H:%M"),
        ("%d.%m.%Y  %H:%M:%S.%f", "%d.%m.%Y  %H:%M:%S.%f"),
        ("%d/%m/%Y %I:%M %p", "%d/%m/%Y %I:%M %p"),
        ("%d/%m/%Y %Hh", None),
    ],
)
def test_a_format_that_is_suggested_is_one(tmp_path, spelling, suggested):
    path = file_of(tmp_path, MONTHS[:12].strftime(spelling))
    with pytest.raises(UserError) as error:
        read_table(config(path))
    if suggested is None:
        assert str(error.value).endswith("; set forecast.time_format")
        return
    assert str(error.value).endswith(f"such as forecast.time_format={suggested!r}")
    assert list(read_table(config(path, time_format=suggested)).series[0].times) == list(MONTHS[:12])


@pytest.mark.parametrize(
    ("last", "step", "coming"),
    [
        ("2021-03-28 00:00", "h", ["01:00+01:00", "03:00+02:00", "04:00+02:00", "05:00+02:00"]),
        ("2021-10-31 00:00", "h", ["01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00"]),
        ("2021-10-31 01:45", "15min", ["02:00+02:00", "02:15+02:00", "02:30+02:00", "02:45+02:00"]),
    ],
)
def test_rows_go_on_over_a_change_of_the_clocks(last, step, coming):
    """Equal steps, and with a gap in them the times of day that the rows have."""
    times = pd.date_range(end=pd.Timestamp(last, tz="Europe/Berlin"), periods=400, freq=step)
    assert [t.isoformat()[11:16] + t.isoformat()[-6:] for t in following(times, 4)] == coming
    if last.startswith("2021-03"):
        assert [t.isoformat()[11:16] + t.isoformat()[-6:] for t in following(times.delete(200), 4)] == coming


def test_days_stay_days_over_a_change_of_the_clocks():
    times = pd.date_range(end="2021-03-27", periods=50, tz="Europe/Berlin")
    assert list(following(times, 4)) == list(pd.date_range("2021-03-28", periods=4, tz="Europe/Berlin"))


BARS = pd.DatetimeIndex(
    [day + pd.Timedelta(minutes=570 + 5 * k) for day in pd.bdate_range("2024-01-02", periods=10) for k in range(78)]
)


@pytest.mark.parametrize(
    ("times", "coming"),
    [
        (BARS, ["2024-01-16 09:30", "2024-01-16 09:35", "2024-01-16 09:40", "2024-01-16 09:45"]),
        (BARS[:-76], ["2024-01-15 09:40", "2024-01-15 09:45", "2024-01-15 09:50", "2024-01-15 09:55"]),
        (MONTHS + pd.Timedelta(days=14), ["2010-01-15", "2010-02-15", "2010-03-15", "2010-04-15"]),
        (pd.date_range("2000-01-31", periods=120, freq="ME"), ["2010-01-31", "2010-02-28", "2010-03-31", "2010-04-30"]),
        (pd.bdate_range("2024-01-02", periods=120).delete([9, 40]), [f"2024-06-{d}" for d in (18, 19, 20, 21)]),
        (DAYS[:119:7], ["2022-04-30", "2022-05-07", "2022-05-14", "2022-05-21"]),
        (pd.date_range("2024-01-01", periods=50, freq="36h"), pd.date_range("2024-03-16", periods=4, freq="36h")),
        (DAYS[np.cumsum(1 + np.arange(40) ** 2 % 5)[:35]], [1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_rows_go_on_in_their_own_calendar(tmp_path, times, coming):
    settings = {"steps": "rows", "context": 4, "validation": 4, "test": 4}
    task = Forecast(config(file_of(tmp_path, times, y=np.sin(np.arange(len(times)))), **settings), 4, 0)
    said = list(said_by(task)["date"])
    assert said == (coming if isinstance(coming[0], int) else [pd.Timestamp(t) for t in coming])


def test_a_column_of_times_may_have_any_name(tmp_path):
    for name in ("series", "q0.5"):
        pd.DataFrame({name: DAYS, "y": np.arange(120.0)}).to_csv(tmp_path / "a.csv", index=False)
        said = said_by(Forecast(config(tmp_path / "a.csv", time=name), 4, 0))
        assert list(said.columns) == ["series", "time", "q0.1", "q0.5", "q0.9"]


def test_a_validation_without_values_is_refused_with_numbers(tmp_path):
    y = np.sin(np.arange(120.0))
    y[100:115] = np.nan
    with pytest.raises(UserError, match="none of the 6 steps of validation has a value, 2022-04-17 to 2022-04-22"):
        Forecast(config(file_of(tmp_path, DAYS, y=y)), 4, 0)
    y[110:] = 1.0
    task = Forecast(config(file_of(tmp_path, DAYS, y=y)), 4, 0)
    assert "forecast.validation: of y 2 of the 6 steps have a value" in task.describe()
    nothing = np.full(120, np.nan)
    nothing[[0, -7, -12]] = 1.0, 2.0, 3.0
    with pytest.raises(UserError, match=r"no forecast\.horizon of 4 steps before the validation has a value in it"):
        Forecast(config(file_of(tmp_path, DAYS, y=nothing)), 4, 0)


def test_every_window_that_is_learned_from_has_a_value(tmp_path):
    """One reading a month on a grid of days."""
    y = np.where(np.arange(400) % 30 == 0, np.arange(400.0) % 7, np.nan)
    y[-60:] = np.arange(60.0)
    times = pd.date_range("2022-01-01", periods=400)
    task = Forecast(config(file_of(tmp_path, times, y=y), validation=24, test=24), 4, 0)
    for step in range(20):
        assert task.batch(step).counted.any(1).all()
    for batch in task.validation():
        assert batch.counted.any(1).all()


@pytest.mark.parametrize("value", [0.001, 0.0, -7e9])
def test_a_constant_series_is_forecast_as_it_is(tmp_path, value):
    task = Forecast(config(file_of(tmp_path, DAYS, y=np.full(120, value))), 4, 0)
    np.testing.assert_allclose(said_by(task)[["q0.1", "q0.5", "q0.9"]].to_numpy(), value, rtol=1e-12)
