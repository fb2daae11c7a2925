"""States and bootstrap states of a sample, by hand, and as torch.compile sees them."""

import torch

from apex_ray.agent.split_states import _rows_of, split_states


def test_states_are_cut_out_of_the_frames():
    frames = torch.arange(2 * 7).reshape(2, 7)  # S = 4, n = 3
    states, bootstrap = split_states(frames, torch.tensor([3, 1]), 4)
    assert states.tolist() == [[0, 1, 2, 3], [7, 8, 9, 10]]
    assert bootstrap.tolist() == [[3, 4, 5, 6], [8, 9, 10, 11]]


def test_the_choice_of_rows_is_an_operation_as_torch_wants_them():
    torch.library.opcheck(_rows_of, (torch.arange(6, dtype=torch.uint8).reshape(3, 2), torch.tensor([2, 0, 2])))
