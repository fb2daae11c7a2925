"""Who holds whom up, by rows of metrics that can be worked out by hand."""

import json

import pytest

from apex_ray.cli import main
from apex_ray.report.diagnosis import Diagnoses, diagnose
from tests.apex_ray.runs import cartpole, new_run


def rows(count=20, every_s=5.0, **values):
    busy = {"learner_wait_fraction": 0.05, "actor_wait_fraction": 0.05, "policy_age_updates": 3.0, "updates_per_s": 9.0}
    return [{"time_s": every_s * i, "updates": 10.0 * i, **busy, **values} for i in range(count)]


RATIO, FREE = cartpole(replay={"samples_per_insert": 8.0}), cartpole(replay={"samples_per_insert": None})


@pytest.mark.parametrize(
    ("config", "values", "part", "why"),
    [
        (
            RATIO,
            {"learner_wait_fraction": 0.6},
            "actors",
            "the learner waits 60% of its time for transitions",
        ),
        (RATIO, {"actor_wait_fraction": 0.5}, "learner", "the actors wait 50% of their time for it to take 8 samples"),
        (FREE, {"learner_wait_fraction": 0.3}, "replay", "the learner waits 30% of the time for it"),
        (FREE, {"actor_wait_fraction": 0.7}, "replay", "the actors wait 70% of the time for it"),
        (RATIO, {"policy_age_updates": 900.0}, "weights", "weights that are 900 updates old"),
        (RATIO, {}, "nobody", "the learner waits 5% and the actors 5% of their time"),
    ],
)
def test_the_part_that_others_wait_for_is_named(config, values, part, why):
    found = diagnose(rows(**values), config)
    assert found.part == part and why in found.why and found.change


def test_what_was_long_ago_does_not_count():
    early, late = rows(20, learner_wait_fraction=0.9), rows(20, actor_wait_fraction=0.9)
    late = [{**row, "time_s": row["time_s"] + 100.0} for row in late]
    assert diagnose(early + late, RATIO).part == "learner"
    assert diagnose(early + late[:1], RATIO).part == "actors", "one row is no minute"


@pytest.mark.parametrize("given", [[], rows(1), rows(updates_per_s=0.0)])
def test_nothing_is_said_before_learning(given):
    assert diagnose(given, RATIO) is None


def test_a_run_says_it_once_it_has_lasted_and_again_when_it_is_another():
    diagnoses, said = Diagnoses(RATIO), {}
    for row in rows(20, learner_wait_fraction=0.9):
        said[row["time_s"]] = diagnoses.line(row)
    first = [(at, line) for at, line in said.items() if line]
    assert len(first) == 1 and first[0][0] == 65.0 and first[0][1].startswith("bottleneck: actors (")
    said = [diagnoses.line({**row, "time_s": row["time_s"] + 100.0}) for row in rows(40, actor_wait_fraction=0.9)]
    assert [line.split(" (")[0] for line in said if line] == ["bottleneck: learner"]


def test_doctor_reads_a_runs_folder(tmp_path, capsys):
    run = new_run(tmp_path, RATIO)
    assert main(["doctor", str(run)]) == 2
    assert "nothing was learned yet" in capsys.readouterr().err
    lines = [json.dumps(row) for row in rows(20, learner_wait_fraction=0.6, restarts=2)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert main(["doctor", str(run)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "over the last 60 s, at 190 updates:" and out[1].startswith(
        "bottleneck: actors (the learner waits"
    )
    assert out[2].startswith("to change: more in actors.count") and "replaced: 2" in out[3]
