"""A name or path that is suggested is near to what was given, and a fault is told with the line to mend."""

import json

import pytest

from trainkit.errors import nearest_path, place


@pytest.mark.parametrize(
    ("given", "beside", "hint"),
    [
        ("/home/somebody/work/my-roms", ["/home/somebody/work/runs", "/home/somebody/work/docs"], ""),
        ("/home/somebody/work/roms2", ["/home/somebody/work/roms"], " Did you mean '/home/somebody/work/roms'?"),
        ("runs/cartpol-1", ["runs/cartpole-20260102-030405"], " Did you mean 'runs/cartpole-20260102-030405'?"),
        (
            "runs/pang",
            ["runs/pong-20260102-030405", "runs/pong-20260203-040506-2"],
            " Did you mean 'runs/pong-20260203-040506-2'?",
        ),
        (
            "runs/pong-20260102-03040x",
            ["runs/pong-20260102-030405", "runs/pong-20260203-040506"],
            " Did you mean 'runs/pong-20260102-030405'?",
        ),
        ("s3://bucket/runs/x", ["s3://bucket/runs/pong-20260102-030405"], ""),
        ("a.yaml", ["mine.yaml"], ""),
        ("min.yaml", ["mine.yaml", "a.yaml"], " Did you mean 'mine.yaml'?"),
    ],
)
def test_paths_in_one_folder_are_compared_by_their_own_names(given, beside, hint):
    assert nearest_path(given, beside) == hint


def test_the_place_of_a_fault_in_a_library_is_the_line_that_called_it() -> None:
    with pytest.raises(ValueError) as caught:
        json.loads("{")
    assert place(caught.value).startswith(f" ({__file__}:")
    assert "json" in place(caught.value, skipped=1), "where there is nothing but the library"
