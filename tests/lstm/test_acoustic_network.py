"""The parts of the network of speech against tables worked by hand and torch's own layers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lstm.acoustic_network import LOG_SCALE, MOMENTUM, AcousticNetwork, Said, laid_out
from lstm.bidirectional import Bidirectional, turned
from lstm.config import ModelConfig
from lstm.network import build
from lstm.shape import Shape
from lstm.speaking import Correction, durations_said
from lstm.tasks.base import Batch
from lstm.tasks.phone_inputs import PhoneInputs
from lstm.tasks.speech import DURATION_WEIGHT, Speech
from trainkit.speech.phones import PAUSE
from trainkit.speech.spoken import tokens

SHAPE = Shape(outputs=4, features=5, lasting=True)
MODEL = ModelConfig(hidden=6, embedding=4, layers=2)


def test_tokens_are_laid_out_over_their_frames():
    places, within = laid_out(torch.tensor([[1, 0, 3, 2], [0, 2, 1, 0]]))
    assert places.tolist() == [[0, 2, 2, 2, 3, 3], [1, 1, 2, 3, 3, 3]]
    fractions, before, after, length = within.unbind(-1)
    np.testing.assert_allclose(fractions[0], [1 / 2, 1 / 6, 3 / 6, 5 / 6, 1 / 4, 3 / 4], rtol=1e-6)
    np.testing.assert_allclose(before[0] * LOG_SCALE, np.log([1, 1, 2, 3, 1, 2]), atol=1e-6)
    np.testing.assert_allclose(after[0] * LOG_SCALE, np.log([1, 3, 2, 1, 2, 1]), atol=1e-6)
    np.testing.assert_allclose(length[0] * LOG_SCALE, np.log([2, 4, 4, 4, 3, 3]), atol=1e-6)
    np.testing.assert_allclose(fractions[1, :3], [1 / 4, 3 / 4, 1 / 2])
    assert torch.isfinite(within).all(), "after the end of the shorter one, too"


def test_both_directions_are_torchs():
    ours = Bidirectional(MODEL, 5)
    theirs = nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for k in range(2):
            for layer, end in ((ours.there[k], ""), (ours.back[k], "_reverse")):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(theirs, f"{name}_l{k}{end}").copy_(getattr(layer.kernel, f"{name}_l0"))
    x = torch.randn(3, 7, 5)
    torch.testing.assert_close(ours(x), theirs(x)[0])


def test_padding_changes_nothing_in_either_direction():
    assert turned(torch.arange(8).reshape(2, 4, 1), torch.tensor([4, 2]))[..., 0].tolist() == [
        [3, 2, 1, 0],
        [5, 4, 6, 7],
    ]
    layers, x = Bidirectional(MODEL, 5), torch.randn(2, 7, 5)
    lengths = torch.tensor([7, 4])
    together, alone = layers(x, lengths), layers(x[1:, :4])
    torch.testing.assert_close(together[1:, :4], alone)
    changed = x.clone()
    changed[1, 4:] = 9
    torch.testing.assert_close(layers(changed, lengths)[1, :4], together[1, :4])


def test_a_sequence_says_the_same_alone_and_in_a_batch():
    network = build(MODEL, SHAPE, 1).eval()
    inputs, durations = torch.randn(2, 5, 5), torch.tensor([[1, 2, 0, 3, 1], [2, 1, 4, 0, 0]])
    both, state = network(inputs, durations, torch.tensor([5, 3]))
    assert state == () and both.frames.shape == (2, 7, 4) and both.log_durations.shape == (2, 5)
    alone, _ = network(inputs[1:, :3], durations[1:, :3])
    torch.testing.assert_close(both.frames[1], alone.frames[0])
    torch.testing.assert_close(both.log_durations[1, :3], alone.log_durations[0])


def test_every_frame_knows_the_whole_sentence():
    network = build(MODEL, SHAPE, 1).eval()
    inputs = torch.randn(1, 4, 5, requires_grad=True)
    for t in (0, 5):
        (gradient,) = torch.autograd.grad(network(inputs, torch.tensor([[1, 2, 2, 1]]))[0].frames[0, t].sum(), inputs)
        assert (gradient.abs().sum(-1) > 0).all()


def test_running_means_are_of_the_phones_frames():
    network = AcousticNetwork(MODEL, SHAPE).train()
    frames = torch.tensor([[[1.0, 2.0, 3.0, 1.0], [3.0, 2.0, 9.0, -1.0], [77.0, 77.0, 77.0, 1.0]]])
    network._watch(frames, torch.tensor([[True, True, False]]))
    keep = 1 - MOMENTUM
    np.testing.assert_allclose(network.said_mean, [keep * 2, keep * 2, keep * 3], rtol=1e-5)
    np.testing.assert_allclose(network.said_square, MOMENTUM + keep * np.array([5, 4, 9]), rtol=1e-5)
    before = network.said_mean.clone()
    network._watch(frames, torch.tensor([[False, True, False]]))
    assert network.said_mean[2] == before[2] and network.said_mean[0] != before[0], "log F0 of voiced frames only"
    # A boundary's frames are left out by the network itself, and so is what comes after a sequence's end.
    inputs = torch.randn(2, 2, 5)
    inputs[:, :, 0] = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    durations, lengths = torch.tensor([[2, 3], [1, 1]]), torch.tensor([2, 2])
    torch.nn.init.zeros_(network.readout.weight)
    torch.nn.init.ones_(network.readout.bias)
    network.said_mean.zero_()
    network(inputs, durations, lengths)
    np.testing.assert_allclose(network.said_mean, [keep] * 3, rtol=1e-5)
    network.eval()
    network(inputs, durations, lengths)
    np.testing.assert_allclose(network.said_mean, [keep] * 3, rtol=1e-5)


def test_spread_is_given_back():
    network = AcousticNetwork(MODEL, SHAPE)
    network.said_mean.copy_(torch.tensor([1.0, 0.0, 0.0]))
    network.said_square.copy_(torch.tensor([1.25, 1.0, 0.25]))  # standard deviations 0.5, 1, 0.5
    natural = torch.tensor([1.0, 0.5, 2.0])
    numbers = torch.tensor([[2.0, 2.0, 1.0, -3.0]])
    np.testing.assert_allclose(Correction(network, natural, 1.0)(numbers), [[3.0, 2.0, 4.0, -3.0]], rtol=1e-6)
    np.testing.assert_allclose(Correction(network, natural, 0.5)(numbers)[0, 0], 1 + math.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(Correction(network, natural, 0.0)(numbers), numbers)


def test_durations_are_whole_frames():
    logs = torch.log1p(torch.tensor([0.3, 0.3, 2.6, 8.0, 900.0, 0.6]))
    boundaries = [True, False, False, True, False, True]
    assert durations_said(logs, boundaries, 1.0, 300).tolist() == [0, 1, 3, 8, 300, 1]
    assert durations_said(logs, boundaries, 2.0, 300).tolist() == [0, 1, 1, 4, 300, 0]
    assert durations_said(torch.tensor([-2.0]), [False], 1.0, 300).tolist() == [1]


def test_tokens_as_numbers():
    inputs = PhoneInputs([PAUSE, "aI", "h", "oU"], ["en", "ja"], ["ann"])
    said = inputs(tokens([(["h", "'oU"], ","), ([",aI"], ""), (["x"], "?")]), "ja", "ann")
    assert said.shape == (8, inputs.size) == (8, 4 + 2 + 5 + 6 + 2 + 1)
    phones, stress, kinds, places, rest = np.split(said, [4, 6, 11, 17], axis=1)
    assert phones.argmax(1).tolist()[:-2] == [0, 2, 3, 0, 1, 0] and phones.sum(1).tolist() == [1, 1, 1, 1, 1, 1, 0, 1]
    assert stress.tolist() == [[0, 0], [0, 0], [1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [0, 0]]
    assert [row.tolist().index(1) if row.any() else None for row in kinds] == [0, None, None, 1, None, None, None, 3]
    np.testing.assert_allclose(10 * places[:, 0], [0, 0, 1, 0, 0, 0, 0, 0], atol=1e-6)  # in the word, before
    np.testing.assert_allclose(10 * places[:, 1], [0, 1, 0, 0, 0, 0, 0, 0], atol=1e-6)  # and after
    np.testing.assert_allclose(10 * places[:, 2], [0, 1, 1, 1, 1, 1, 2, 2], atol=1e-6)  # words since the last mark
    np.testing.assert_allclose(10 * places[:, 3], [0, 0, 0, 0, 1, 1, 0, 0], atol=1e-6)  # and to the next
    np.testing.assert_allclose(places[:, 4], (np.arange(8) + 0.5) / 8)
    assert rest.tolist() == [[0, 1, 1]] * 8
    again = PhoneInputs.read(inputs.plain())(tokens([(["h"], ".")]), "en", "nobody")
    assert again[:, -3:].tolist() == [[1, 0, 0]] * 3


def test_what_frames_and_durations_cost():
    said = Said(
        torch.tensor([[[1.0, 3.0, 5.0, 0.0], [0.0, 0.0, 2.0, 0.0], [9.0, 9.0, 9.0, 9.0]]]),
        torch.log1p(torch.tensor([[1.0, 3.0, 7.0]])),
    )
    batch = Batch(
        torch.zeros(1, 3, 5),
        torch.tensor([[[0.0, 0.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4]]),
        torch.tensor([[True, True, False, False]]),
        torch.tensor([2]),
        durations=torch.tensor([[1, 1, 0]]),
    )
    costs = Speech.cost(None, said, batch)  # type: ignore[arg-type]  # it needs nothing of the task
    late = DURATION_WEIGHT * math.log(4 / 2) ** 2
    np.testing.assert_allclose(costs, [5 + 2 + 4 + math.log(2), math.log(2), 0, late], rtol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_both_parts_learn_together(cell):
    network = build(MODEL.model_copy(update={"cell": cell}), SHAPE, 0)
    said, _ = network(torch.randn(2, 3, 5), torch.tensor([[1, 2, 1], [0, 1, 2]]), torch.tensor([3, 3]))
    (said.frames.sum() + said.log_durations.sum()).backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for name, p in network.named_parameters() if "weight" in name
    )
