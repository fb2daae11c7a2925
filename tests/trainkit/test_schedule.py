import pytest

from trainkit.schedule import warm_up_and_cosine


def test_the_learning_rate_by_hand():
    def rate(step):
        return warm_up_and_cosine(step, steps=14, warmup_steps=4, final=0.1)

    assert [rate(s) for s in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate(4) == 1.0 and rate(9) == pytest.approx(0.55)
    assert rate(14) == pytest.approx(0.1) and rate(99) == pytest.approx(0.1)
