"""The operations that a GPU would replay, run one by one on the CPU, against the compiled kernels."""

import numpy as np
import pytest
import torch

from tests.wavenet.test_generate import CONDITIONED, build
from trainkit.errors import UserError
from wavenet.generate import Generator
from wavenet.graphed import CHUNK, GraphedGenerator

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("output", "kernel", "conditions", "top_k"),
    [("softmax", 2, {}, 9), ("softmax", 3, CONDITIONED, None), ("logistics", 2, CONDITIONED, None)],
)
def test_as_the_kernels_generate(output, kernel, conditions, top_k):
    model, streams, n = build(output=output, kernel=kernel, **conditions), 3, CHUNK + 40
    speakers = torch.tensor([0, 2, 1]) if conditions else None
    with torch.no_grad():
        local = model.conditions.upsampling(torch.randn(streams, n // 20 + 1, 5))[:, :n] if conditions else None
    given = np.random.default_rng(1).integers(0, 256, (7, streams)).astype(np.float32)
    given = given if output == "softmax" else given / 256 - 0.5
    one = Generator(model, streams, "float32", 4, 0.8, top_k, speakers)
    other = GraphedGenerator(model, streams, CPU, 4, 0.8, top_k, speakers)
    np.testing.assert_allclose(other.run(n, local, given), one.run(n, local, given), atol=1e-3)
    fresh = GraphedGenerator(model, streams, CPU, 4, 0.8, top_k, speakers)
    heard = Generator(model, streams, "float32", 4, 0.8, top_k, speakers).run(
        60, None if local is None else local[:, :60]
    )
    some = None if local is None else local[:, :60]
    expected = Generator(model, streams, "float32", speakers=speakers).listen(heard, some)
    np.testing.assert_allclose(fresh.listen(heard, some), expected, atol=1e-4)


def test_chunks_are_the_unbroken_stream():
    model = build()
    whole = GraphedGenerator(model, 1, CPU, 1).run(CHUNK + 30)
    parts = GraphedGenerator(model, 1, CPU, 1)
    np.testing.assert_array_equal(np.concatenate([parts.run(n) for n in (1, CHUNK, 29)]), whole)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing where there is no GPU")
def test_no_gpu_is_one_message():
    with pytest.raises(UserError, match="no GPU here; expected cpu"):
        GraphedGenerator(build(), 1, torch.device("cuda"))
