"""The console's line."""

from lstm.metrics import line


def test_a_loss_that_is_nearly_nothing_has_no_sign():
    validation = {"step": 1, "validation_loss": -1e-9, "best_loss": -1e-9}
    assert line(validation, 1, "nats").endswith("validation 0.0000 nats, best 0.0000")
    batch = {"step": 1, "loss": -1e-9, "grad_norm": 1, "timesteps_per_s": 1, "updates_per_s": 1, "workers": 1}
    assert "loss   0.0000" in line(batch, 1, "nats") and "loss  -0.1000" in line({**batch, "loss": -0.1}, 1, "nats")
