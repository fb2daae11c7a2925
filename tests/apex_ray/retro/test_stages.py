"""Totals, table, files and plot of stages, against figures worked out by hand."""

import csv

import numpy as np

from apex_ray.retro import stages
from apex_ray.retro.stage_end import StageEnd
from apex_ray.types import EvaluationResult

ENDS = [
    StageEnd("Hill", 300.0, 200.0, False, 400),
    StageEnd("Lake", 9568.0, 9900.0, True, 1800),
    StageEnd("Hill", 250.0, 100.0, False, 300),
]
ENDS = [end.values for end in ENDS]


def test_by_stage():
    hill, lake = stages.by_stage(ENDS)
    assert hill == stages.StageRow("Hill", 2, 300.0, 150.0, 200.0, 0)
    assert lake == stages.StageRow("Lake", 1, 9568.0, 9900.0, 9900.0, 1)


def test_the_tally_keeps_all_of_the_best_and_the_last_20_of_the_mean():
    tally = stages.StageReporter()
    for i in range(30):
        tally.add(StageEnd("Hill", 100.0 + (i == 2) * 500, float(i), False, 10).values)
    (row,) = tally.rows()
    assert (row.episodes, row.best_x, row.best_score) == (30, 600.0, 29.0)
    assert row.mean_score == np.mean(range(10, 30))


def test_games_without_an_x_have_none():
    (row,) = stages.by_stage([StageEnd("Level1", None, 60.0, False, 100).values])
    assert np.isnan(row.best_x)
    assert stages.table([row]).splitlines()[1].split() == ["Level1", "1", "-", "60", "60", "0"]


def test_the_table_says_whose_scores_they_are():
    text = stages.table(stages.by_stage(ENDS), "the demo cartridge").splitlines()
    assert text[0] == "scores of the demo cartridge, not of the game"
    assert text[2].split() == ["Hill", "2", "300", "150", "200", "0"]
    assert text[4].split() == ["mean", "of", "stages", "5,025", "1", "of", "2"]


def test_files_and_plot(tmp_path):
    log = stages.StageReporter("the demo cartridge")
    tally = stages.StageReporter()
    for frames, end in ((100, ENDS[0]), (200, ENDS[1])):
        tally.add(end)
        log.write(tmp_path, tally.rows(), {"time_s": 1.0, "frames": frames, "updates": 3})
    log.write(tmp_path, tally.rows(), {"time_s": 2.0, "frames": 300, "updates": 4})
    rows = list(csv.DictReader((tmp_path / "stages.csv").open()))
    assert [(r["frames"], r["stage"], r["best_x"]) for r in rows] == [
        ("100", "Hill", "300.00"),
        ("200", "Lake", "9568.00"),
    ]
    result = EvaluationResult(
        7, 7, 900, [2.0, 95.0], [100, 450], episode_values=ENDS[:2], scores_of="the demo cartridge"
    )
    log.write_evaluation(tmp_path, result, 5.0)
    (hill, lake) = csv.DictReader((tmp_path / "stage_evaluations.csv").open())
    assert (hill["frames"], hill["stage"], lake["completed"]) == ("900", "Hill", "1")
    assert {r["scores_of"] for r in (*rows, hill, lake)} == {"the demo cartridge"}
    assert log.plot(tmp_path).stat().st_size > 5_000
