"""mu-law, against librosa and by its own laws."""

import librosa
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainkit.mu_law import CLASSES, SILENCE, TABLE, decode, encode


def test_it_is_librosas():
    sound = np.concatenate([np.linspace(-1, 1, 100_001), np.random.default_rng(0).normal(0, 0.05, 100_000).clip(-1, 1)])
    ours = encode(sound).astype(int)
    theirs = librosa.mu_compress(sound, mu=255, quantize=True) + SILENCE
    np.testing.assert_array_equal(ours, theirs)
    codes = np.arange(CLASSES)
    np.testing.assert_allclose(decode(codes), librosa.mu_expand(codes - SILENCE, mu=255, quantize=True), atol=1e-7)


def test_silence_and_the_ends():
    assert encode(np.array([0.0, -1.0, 1.0, -3.0, 3.0])).tolist() == [SILENCE, 0, 255, 0, 255]
    assert decode(np.array([SILENCE]))[0] == 0.0 and np.all(np.diff(TABLE) > 0)


@given(st.floats(-1, 1))
def test_a_code_is_near_its_sample(x):
    # The widest step, next to full scale, is 4.3 % of it.
    assert abs(decode(encode(np.array([x])))[0] - x) <= 0.0441 * (abs(x) + 1 / 255) + 1e-6
