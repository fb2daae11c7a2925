"""The console's line."""

from wavenet.metrics import line


def test_bits_that_are_nearly_none_have_no_sign():
    assert line({"step": 1, "validation_bits": -1e-9}, 1).endswith("validation 0.0000 bits/sample")
    batch = {"step": 1, "bits": -1e-9, "grad_norm": 1, "samples_per_s": 1, "steps_per_s": 1, "workers": 1}
    assert "bits  0.0000" in line(batch, 1) and "bits -0.1000" in line({**batch, "bits": -0.1}, 1)
