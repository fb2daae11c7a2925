"""What the program keeps of its nodes' answers; whole runs are in test_ray_runs.py."""

from types import SimpleNamespace

import pytest

from apex_ray.nodes.program import Program
from apex_ray.types import EvaluationResult


@pytest.mark.parametrize(
    ("best", "returns", "then"),
    [(None, -3.0, -3.0), (0.0, -3.0, 0.0), (0.0, 2.0, 2.0), (-5.0, -3.0, -3.0), (5.0, 0.0, 5.0)],
)
def test_a_best_evaluation_of_zero_counts(monkeypatch, best, returns, then):
    """A restarted evaluator gets it, and must not overwrite the best weights with worse ones."""
    program = Program.__new__(Program)
    result = EvaluationResult(1, 1, 1, [returns], [1])
    program._best_return, program._evaluation = best, SimpleNamespace(poll=lambda: result)
    monkeypatch.setattr(Program, "_tell", lambda self: None)
    assert program.poll_evaluation() is result and program._best_return == then
