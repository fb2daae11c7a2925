"""A run that begins with another one's weights: what is taken, what begins anew, what does not fit."""

import json

import numpy as np
import pytest
import soundfile
import torch

from tests.wavenet.runs import trained
from trainkit.checkpoints import TRAINING, WEIGHTS, newest, weights
from trainkit.errors import UserError
from wavenet import checkpoint
from wavenet.cli import main
from wavenet.config import PRESETS
from wavenet.corpus import load_corpus
from wavenet.model import WaveNet
from wavenet.starting import SPEAKERS, begun, refuse_misfit, settings_from
from wavenet.train import settled

TINY = (
    "model.cycles=1", "model.layers_per_cycle=3", "model.residual=8", "model.skip=8", "model.head=8",
    "model.speaker_channels=4", "model.local_channels=4", "training.steps=3", "training.batch=2",
    "training.segment_samples=320", "training.excerpt_s=0", "training.validate_every_steps=3",
)  # fmt: skip


def voice(folder, phones=("_", "a", "_"), files=3):
    """Recordings of half a second, each with its phones and a text of its own."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for i in range(files):
        soundfile.write(folder / f"{i}.wav", rng.normal(0, 0.1, 8_000), 16_000)
        facts = {"text": f"text {i}", "seconds": 0.5, "phones": [[0.15 * k, name] for k, name in enumerate(phones)]}
        (folder / f"{i}.json").write_text(json.dumps(facts))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Of two speakers, anna and bert."""
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("anna", "bert"):
        voice(tmp_path / "first" / name)
    return trained("speech", "data.folder=first", *TINY)


@pytest.mark.timeout(180)
def test_another_voice_is_learned_from_a_run_and_both_are_known(run, tmp_path, capsys):
    voice(tmp_path / "second" / "carl")
    # With so small a rate that no update shows, what it has at its end is what it began with.
    still = ("training.steps=2", "training.learning_rate=1.0e-12", "training.validate_every_steps=2", "training.ema=0")
    assert main(["train", "data.folder=second", *still, "--from", str(run)]) == 0
    told = capsys.readouterr().out
    assert f"beginning with the weights of {run.absolute()}" in told
    (new,) = (folder for folder in (tmp_path / "runs").iterdir() if folder.name != run.name)
    assert checkpoint.known(new) == (["anna", "bert", "carl"], ["_", "a"])
    before = weights(newest(run) / WEIGHTS)
    for name in (WEIGHTS, TRAINING):
        after = weights(newest(new) / name)
        for key, tensor in after.items():
            wanted = before[key] if key != SPEAKERS else torch.cat([before[key], before[key].mean(0, keepdim=True)])
            torch.testing.assert_close(tensor, wanted, atol=1e-6, rtol=0)
    config = PRESETS.load_run(new)
    assert config.model.speakers == 3 and config.training.init_from == str(run.absolute())
    corpus = load_corpus(config.data, checkpoint.known(new))
    assert {r.speaker for r in [*corpus.train, *corpus.validation]} == {2} and not corpus.skipped
    assert main(["speak", str(new), "a", "--speaker", "anna", "--out", "a.wav"]) == 0


def test_what_the_weights_are_of_can_not_be_changed(run, capsys):
    for words, told in (
        (["small"], "expected KEY=VALUE, and nothing of model., data.conditions"),
        (["model.skip=9"], "got 'model.skip=9'"),
        (["data.sample_rate=8000"], "got 'data.sample_rate=8000'"),
        (["--resume", str(run)], "--from and --resume exclude each other"),
    ):
        assert main(["train", *words, "--from", str(run)]) == 2
        assert told in capsys.readouterr().err
    assert main(["train", "--from", "runs/none"]) == 2 and "does not exist" in capsys.readouterr().err


def test_a_corpus_that_does_not_fit_is_refused(run, tmp_path):
    voice(tmp_path / "french" / "dora", ("_", "Y", "R"))
    config = settings_from(str(run), ["data.folder=french"])
    with pytest.raises(UserError, match=r"never learned the phones R Y, which data\.folder has"):
        refuse_misfit(config, load_corpus(config.data, checkpoint.known(run), more_speakers=True))
    alone = trained("speech", "data.folder=first/anna", "data.speakers=none", *TINY)
    config = settings_from(str(alone), ["data.folder=first", "data.speakers=folder"])
    with pytest.raises(UserError, match=r"tells no speakers apart; expected data\.speakers=none"):
        refuse_misfit(config, load_corpus(config.data, checkpoint.known(alone), more_speakers=True))


def test_the_weights_begun_with_are_those_of_a_run_of_the_same_speakers(run):
    config = settings_from(str(run), [])
    corpus = load_corpus(config.data, checkpoint.known(run), more_speakers=True)
    refuse_misfit(config, corpus)
    config = settled(config, corpus)
    found = begun(config, WaveNet(config.model))
    for key, tensor in weights(newest(run) / WEIGHTS).items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0)
