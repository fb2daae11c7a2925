import pytest

from trainkit.schedule import check_points, piecewise_linear, warm_up_and_cosine


def test_the_learning_rate_by_hand():
    def rate(step):
        return warm_up_and_cosine(step, steps=14, warmup_steps=4, final=0.1)

    assert [rate(s) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate(4) == 1.0 and rate(9) == pytest.approx(0.55)
    assert rate(14) == pytest.approx(0.1) and rate(99) == pytest.approx(0.1)


def test_straight_lines_between_points_by_hand():
    points = [(10, 1.0), (20, 0.5), (40, 0.1)]
    by_step = {0: 1.0, 10: 1.0, 15: 0.75, 20: 0.5, 30: 0.3, 40: 0.1, 99: 0.1}
    assert {step: piecewise_linear(step, points) for step in by_step} == pytest.approx(by_step)
    assert piecewise_linear(7, [(3, 0.25)]) == 0.25


def test_the_steps_of_a_schedule_rise():
    check_points([(0, 1.0), (1, 0.0)])
    with pytest.raises(ValueError, match=r"\[0, 5, 5\]"):
        check_points([(0, 1.0), (5, 0.5), (5, 0.0)])
