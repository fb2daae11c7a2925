"""What the driver makes of a node's failure. For whole runs see test_ray_runs.py and test_ray_losses.py."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError, RayTaskError

from apex_ray.nodes.program import Program
from trainkit.errors import NotWrittenError, UserError


class Calls:
    """The last call has failed."""

    busy = True

    def poll(self):
        raise RayActorError


@pytest.fixture
def program(tmp_path):
    """Without nodes; `asked` holds how long each look at them would have waited."""
    program = Program.__new__(Program)
    program.asked = []
    program._run, program._messages, program._export = tmp_path, Calls(), Calls()
    program._supervisor = SimpleNamespace(
        check=lambda timeout_s: program.asked.append(timeout_s),
        lost=lambda name, error: UserError(f"{name} lost its process"),
    )
    return program


@pytest.mark.parametrize("what", [lambda program: program._pass_on_messages(), lambda program: program.publish({})])
def test_a_lost_metrics_process_ends_the_run_with_one_message(program, what):
    with pytest.raises(UserError, match="a node lost its process"):
        what(program)
    assert program.asked, "the supervisor knows better, once the others have met it too"


def test_a_full_disk_is_passed_on_at_once(program):
    error = RayTaskError("save", "Traceback", NotWrittenError("no room")).as_instanceof_cause()
    with pytest.raises(NotWrittenError, match="no room"), program._as_user_error():
        raise error
    assert not program.asked
