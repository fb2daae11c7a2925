"""The equations against torch's own kernels, forward and backward; options against tables and identities."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lstm.cell import LstmCell, RnnCell
from lstm.config import ModelConfig
from lstm.recurrent import Recurrent

sizes = st.integers(1, 5)
configs = st.one_of(
    st.builds(
        ModelConfig, cell=st.just("rnn"), hidden=sizes, layers=st.integers(1, 3),
        nonlinearity=st.sampled_from(["tanh", "relu"]),
    ),
    st.builds(ModelConfig, hidden=st.integers(3, 5), layers=st.integers(1, 3), projection=st.integers(0, 2)),
)  # fmt: skip
any_config = st.one_of(
    configs,
    st.builds(ModelConfig, hidden=st.integers(3, 5), layers=st.integers(1, 2), projection=st.integers(0, 2),
              layer_norm=st.booleans(), peepholes=st.booleans(), implementation=st.just("written")),
)  # fmt: skip


def pair(config, inputs):
    """The fused network and its written twin, with other biases than the ones they begin with."""
    fused = Recurrent(config.model_copy(update={"implementation": "fused"}), inputs).double()
    with torch.no_grad():
        for p in fused.parameters():
            p.uniform_(-1, 1)
    return fused, fused.written()


def random_state(network, rows):
    return tuple(
        torch.randn(network.config.layers, rows, part.shape[-1], dtype=torch.float64)
        for part in network.written().cells[0].start(1)
    )


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@given(configs, sizes, sizes, st.integers(1, 7), st.booleans(), st.integers(0, 99))
@settings(max_examples=25)
def test_written_cells_are_the_fused_kernels_forward_and_backward(config, inputs, rows, steps, from_state, seed):
    torch.manual_seed(seed)
    fused, written = pair(config, inputs)
    state = random_state(fused, rows) if from_state else None
    x = torch.randn(rows, steps, inputs, dtype=torch.float64)
    weights = torch.randn(rows, steps, fused.outputs, dtype=torch.float64)
    gradients = []
    for network in (fused, written):
        given_x = x.clone().requires_grad_()
        outputs, after = network(given_x, state)
        ((outputs * weights).sum() + sum((part**2).sum() for part in after)).backward()
        gradients.append((outputs, *after, given_x.grad))
    for a, b in zip(*gradients, strict=True):
        close(a, b)
    for layer, cell in enumerate(written.cells):
        for name, p in cell.named_parameters():
            close(p.grad, getattr(fused.kernel, f"{name}_l{layer}").grad)


@given(any_config, st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99))
@settings(max_examples=15)
def test_a_carried_state_is_the_unbroken_sequence(config, chunks, seed):
    torch.manual_seed(seed)
    network = Recurrent(config, 2).double()
    x = torch.randn(3, sum(chunks), 2, dtype=torch.float64)
    whole, end = network(x)
    parts, state = [], None
    for chunk in x.split(chunks, dim=1):
        outputs, state = network(chunk, state)
        parts.append(outputs)
    close(torch.cat(parts, 1), whole)
    for a, b in zip(state, end, strict=True):
        close(a, b)


@given(any_config, st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 99))
@settings(max_examples=15)
def test_ragged_sequences_are_each_on_its_own(config, lengths, seed):
    torch.manual_seed(seed)
    network = Recurrent(config, 2).double()
    x = torch.randn(len(lengths), max(lengths), 2, dtype=torch.float64)
    outputs, state = network(x, None, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, end = network(x[row : row + 1, :length])
        close(outputs[row, :length], alone[0])
        assert not outputs[row, length:].any()
        for a, b in zip(state, end, strict=True):
            close(a[:, row], b[:, 0])


def test_an_lstm_step_by_hand():
    cell = LstmCell(1, 1, peepholes=True).double()
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor([[0.1], [0.2], [0.3], [0.4]], dtype=torch.float64))
        cell.weight_hh.copy_(torch.tensor([[0.5], [0.6], [0.7], [0.8]], dtype=torch.float64))
        cell.bias_ih.zero_()
        cell.bias_hh.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        cell.peep.copy_(torch.tensor([[0.1], [-0.2], [0.3]], dtype=torch.float64))
    x, h, c = 2.0, 0.5, -1.0
    state = (torch.tensor([[h]], dtype=torch.float64), torch.tensor([[c]], dtype=torch.float64))
    with torch.no_grad():
        (h_new, c_new), gates = cell.step_with_gates(cell.driven(torch.tensor([[x]], dtype=torch.float64)), state)

    def sigmoid(v):
        return 1 / (1 + math.exp(-v))

    i = sigmoid(0.1 * x + 0.5 * h + 0.1 * c)
    f = sigmoid(0.2 * x + 0.6 * h + 1.0 - 0.2 * c)
    g = math.tanh(0.3 * x + 0.7 * h)
    memory = f * c + i * g
    o = sigmoid(0.4 * x + 0.8 * h + 0.3 * memory)
    assert [float(v) for v in gates] == pytest.approx([i, f, g, o, memory], abs=1e-12)
    assert float(c_new) == pytest.approx(memory, abs=1e-12)
    assert float(h_new) == pytest.approx(o * math.tanh(memory), abs=1e-12)


def test_a_plain_step_by_hand():
    cell = RnnCell(1, 1, "relu").double()
    with torch.no_grad():
        for p, value in zip(cell.parameters(), (0.5, -2.0, 0.25, 0.5), strict=True):
            p.fill_(value)
    (h,) = cell.step(cell.driven(torch.tensor([[3.0]]).double()), (torch.tensor([[0.5]]).double(),))
    assert float(h.detach()) == pytest.approx(0.5 * 3 - 2 * 0.5 + 0.25 + 0.5)


def test_layer_norm_makes_the_gates_blind_to_the_inputs_size():
    torch.manual_seed(0)
    network = Recurrent(ModelConfig(hidden=8, layer_norm=True), 3).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    close(network(1e4 * x)[0], network(5e5 * x)[0])  # beyond the norm's epsilon
    assert not torch.allclose(network(x)[0], network(-x)[0])


def test_an_open_forget_gate_keeps_memory_and_gradient():
    """The constant error carousel: with f = 1 and i = 0 memory and gradient pass 1,000 steps unchanged."""
    cell = LstmCell(1, 4).double()
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        cell.bias_ih[:4], cell.bias_ih[4:8] = -100.0, 100.0
    start = torch.randn(1, 4, dtype=torch.float64, requires_grad=True)
    state = (torch.zeros(1, 4, dtype=torch.float64), start)
    for driven in cell.driven(torch.randn(1, 1_000, 1, dtype=torch.float64)).unbind(1):
        state = cell.step(driven, state)
    close(state[1], start)
    (gradient,) = torch.autograd.grad(state[1].sum(), start)
    close(gradient, torch.ones_like(start))


@pytest.mark.parametrize("implementation", ["fused", "written"])
def test_how_gates_begin(implementation):
    def biases(**settings):
        torch.manual_seed(0)
        network = Recurrent(ModelConfig(hidden=2_000, implementation=implementation, **settings), 1)
        whole = sum(p.detach() for name, p in network.named_parameters() if "bias" in name)
        return whole.reshape(4, -1)

    i, f, g, o = biases(forget_bias=1.5)
    assert (f == 1.5).all() and not i.any() and not g.any() and not o.any()
    i, f, g, o = biases(chrono_steps=1_000)
    assert torch.equal(i, -f) and not g.any() and not o.any()
    lasting = torch.exp(f)  # about how many steps a unit remembers
    assert 1 <= lasting.min() < 20 and 980 < lasting.max() <= 999 and abs(float(lasting.mean()) - 500) < 30


def test_dropout_is_between_layers_and_only_in_training():
    torch.manual_seed(0)
    for implementation in ("fused", "written"):
        network = Recurrent(ModelConfig(hidden=50, layers=2, dropout=0.5, implementation=implementation), 2)
        x = torch.randn(4, 3, 2)
        assert not torch.equal(network(x)[0], network(x)[0])
        network.eval()
        assert torch.equal(network(x)[0], network(x)[0])
        alone = Recurrent(ModelConfig(hidden=50, dropout=0.5, implementation=implementation), 2)
        assert torch.equal(alone(x)[0], alone(x)[0]), "one layer has nothing between"


def test_the_choice_of_implementation():
    assert isinstance(Recurrent(ModelConfig(), 3).kernel, nn.LSTM)
    assert Recurrent(ModelConfig(peepholes=True), 3).kernel is None
    assert Recurrent(ModelConfig(implementation="written"), 3).kernel is None
    with pytest.raises(ValueError, match="implementation fused has no layer_norm; expected auto or written"):
        ModelConfig(layer_norm=True, implementation="fused")
    with pytest.raises(ValueError, match="cell rnn has no projection"):
        ModelConfig(cell="rnn", projection=3)


def test_gates_shown_are_those_of_the_network():
    torch.manual_seed(0)
    network = Recurrent(ModelConfig(hidden=6, layers=2), 3)
    x = torch.randn(2, 9, 3)
    shown = network.written().gates(x)
    close(shown[-1].output * torch.tanh(shown[-1].memory), network(x)[0].detach())
    assert len(shown) == 2 and all(float(g.forget.min()) >= 0 and float(g.forget.max()) <= 1 for g in shown)
