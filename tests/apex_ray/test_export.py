"""Exported networks give the run's own values, on observations of its own environment."""

import json

import numpy as np
import pytest

from apex_ray import export
from apex_ray.cli import main
from apex_ray.policy import load_policy
from tests.apex_ray.runs import cartpole, saved

BROUGHT = "tests.apex_ray.brought"
CONV = {"conv_channels": [4, 4, 4], "hidden": 8, "mlp_layers": [8]}
CONFIGS = {
    "vector": {},
    "atari": {"env": {"id": "ALE/Pong-v5", "frame_stack": 4}, "network": CONV},
    "masked_nested": {"env": {"id": "nested", "make": f"{BROUGHT}:masked_nested"}, "network": CONV},
    "masked_branches": {
        "env": {"id": "branches", "make": f"{BROUGHT}:masked_branches"},
        "network": {"normalise": True},
    },
    "number": {"env": {"id": "number", "make": f"{BROUGHT}:number"}},
}


def run_of(tmp_path, name):
    run, _ = saved(tmp_path, cartpole(**CONFIGS[name]))
    return run


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["onnx", "torchscript", "safetensors"])
def test_an_exported_network_gives_the_same_values(tmp_path, name, kind, capsys):
    run = run_of(tmp_path, name)
    assert main(["export", str(run), "--format", kind]) == 0
    out = run / "export" / f"best{export.SUFFIXES[kind]}"
    assert out.exists() and "1,000 real observations: values differ by at most" in capsys.readouterr().out
    told, policy = json.loads(out.with_suffix(".json").read_text()), load_policy(run)
    assert list(told["inputs"]) == list(policy.spec.observation)
    assert told["network"]["hidden"] == policy.config.network.hidden and "torch" in told["versions"]
    assert told["output"]["branches"] == list(policy.spec.branches) and told["env"]["id"] == policy.config.env.id


def test_onnx_equals_the_policy_on_a_batch_of_any_size(tmp_path):
    """As a program without apex-ray would use it."""
    import onnxruntime

    run = run_of(tmp_path, "masked_nested")
    assert main(["export", str(run), "--out", str(tmp_path / "network.onnx")]) == 0
    policy, session = load_policy(run), onnxruntime.InferenceSession(str(tmp_path / "network.onnx"))
    samples = dict(zip(policy.spec.observation, export.real_observations(policy, 40), strict=True))
    assert samples["frames.seen.camera"].dtype == np.uint8 and not samples["action_mask"].all()
    for count in (1, 7, 40):
        given = {name: array[:count] for name, array in samples.items()}
        (values,) = session.run(None, given)
        np.testing.assert_allclose(values, policy.q_values(given), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(values.argmax(axis=1), policy(given))


def test_observations_are_of_many_states(tmp_path):
    policy = load_policy(run_of(tmp_path, "vector"))
    (frames,) = export.real_observations(policy, 200)
    assert frames.shape == (200, 1, 4) and len(np.unique(frames[:, 0], axis=0)) > 190


def test_what_gives_other_values_is_not_kept_and_what_stood_there_stays(tmp_path, monkeypatch, capsys):
    run = run_of(tmp_path, "vector")
    real, out = export._WRITERS["safetensors"], run / "export" / "best.safetensors"
    out.parent.mkdir()
    out.write_bytes(b"of before")

    def wrong(policy, samples, out):
        model = real(policy, samples, out)
        return lambda leaves: model(leaves) * 1.001

    monkeypatch.setitem(export._WRITERS, "safetensors", wrong)
    assert main(["export", str(run), "--format", "safetensors"]) == 2
    assert "values differ by 1.0e-03 of the largest" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == [out] and out.read_bytes() == b"of before"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--out", "network.pt"], "expected a file name that ends in .onnx"),
        (["--checkpoint", "update-7"], "no checkpoint 'update-7'"),
    ],
)
def test_wrong_words_are_refused_in_one_line(tmp_path, words, part, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run_of(tmp_path, "vector")), *words]) == 2
    error = capsys.readouterr().err
    assert part in error and error.count("\n") == 1


def test_an_agent_with_a_state_is_refused(tmp_path, capsys):
    run, _ = saved(tmp_path, cartpole(agent="tests.apex_ray.counting_agent:CountingAgent"))
    assert main(["export", str(run)]) == 2
    assert "can't be exported: it has a state" in capsys.readouterr().err


def test_a_missing_library_is_named_with_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert main(["export", str(run_of(tmp_path, "vector"))]) == 2
    assert "pip install 'apex-ray[export]'" in capsys.readouterr().err
