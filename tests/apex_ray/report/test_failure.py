"""One message for whatever ends a run, and the traceback in a file."""

from apex_ray.report.failure import describe
from trainkit.errors import UserError


def raised(error):
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_mistake_of_the_user_is_passed_on_as_it_is(tmp_path):
    assert str(describe("learner", UserError("learner.batch_size = 0"), tmp_path)) == "learner.batch_size = 0"
    assert not (tmp_path / "error.txt").exists()


def test_an_exception_is_named_with_its_place_and_kept_whole(tmp_path):
    message = str(describe("actor 2", raised(ValueError("no such lever")), tmp_path))
    assert message.startswith(f"actor 2 failed: ValueError: no such lever ({__file__}:")
    assert str(tmp_path / "error.txt") in message
    assert "in raised" in (tmp_path / "error.txt").read_text()


def test_the_place_is_found_in_text_that_crossed_a_process(tmp_path):
    text = RuntimeError('Traceback:\n  File "/a/outer.py", line 3, in f\n  File "/a/env.py", line 14, in step\nboom')
    assert "ValueError: boom (/a/env.py:14)" in str(describe("actor 0", ValueError("boom"), tmp_path, text))
