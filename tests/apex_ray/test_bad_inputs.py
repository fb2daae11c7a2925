"""Every row of the table of bad inputs: its one line or its recovery, and its exit code."""

import subprocess

import pytest

from tests.apex_ray.bad_inputs import environments, files, on_ray, play, settings

ROWS = [*settings.ROWS, *files.ROWS, *environments.ROWS, *on_ray.ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_bad_input(row, tmp_path):
    if row.prefix and subprocess.run([*row.prefix, "true"], capture_output=True).returncode:
        pytest.skip("this user may not do it")
    seen = play(row, tmp_path)
    whole = seen.out + seen.err
    assert seen.code == row.code, whole
    assert "Traceback" not in whole
    assert whole.count("stopping: ") <= 1, "one process went on"
    if row.code == 2:
        # The second: of a run that ended before its learner had begun to answer, as on a busy machine.
        besides = ("Ray's logs of this run are kept", "no checkpoint could be written")
        lines = [line for line in seen.err.splitlines() if not line.startswith(besides)]
        assert len(lines) == 1, seen.err
        [told] = lines
        assert told.startswith("error: ")
        assert [part for part in row.parts if part not in told] == [], told
        if row in settings.ROWS:
            assert len(list(tmp_path.iterdir())) == 1 + ("latest" in row.words), "nothing is left behind"
    else:
        assert not seen.errors
        assert [part for part in row.parts if part not in whole] == [], whole


def test_the_table_is_as_long_as_it_is_to_be():
    assert len({row.name for row in ROWS}) == len(ROWS) >= 80
