import pytest
import torch
from ray.exceptions import ActorDiedError

from cluster.data_parallel import is_mistake
from cluster.errors import UserError


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (UserError("bits became nan"), True),
        (KeyError("speaker"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), True),
        (ActorDiedError(), False),
        (ConnectionResetError("peer"), False),
        (torch.distributed.DistNetworkError("no route"), False),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:41"), False),
    ],
)
def test_what_would_come_again_is_a_mistake(error, mistake):
    assert is_mistake(error) is mistake
