"""Forced alignment against eSpeak NG's own times, which no aligner has to guess."""

import json

import librosa
import numpy as np
import pytest
import soundfile

from cluster.errors import UserError
from wavenet.alignment import CMU, Aligner, align_folder, transcripts
from wavenet.cli import main
from wavenet.espeak import say
from wavenet.phones import PAUSE, bare, read_timeline, timeline

TEXT = "Please leave a message after the tone."


@pytest.fixture(scope="module")
def spoken():
    said = say(TEXT, "en-us", "f1")
    return said, librosa.resample(said.sound, orig_sr=said.rate, target_sr=16_000)


def test_phones_are_where_they_were_said(spoken):
    said, sound = spoken
    found = [(at, name) for at, name in Aligner()(sound, TEXT)["phones"] if bare(name) != PAUSE]
    true = [(at, name) for at, name in said.phones if bare(name) != PAUSE]
    assert [bare(name) for _, name in found] == [bare(name) for _, name in true]
    off = np.abs(np.array([at for at, _ in found]) - np.array([at for at, _ in true]))
    assert np.median(off) < 0.04 and off.max() < 0.2


def test_another_text_does_not_fit(spoken):
    with pytest.raises(ValueError, match="does not sound like"):
        Aligner()(spoken[1][:8_000], "An engineer can hardly use the usual treasure without a word, under a huge oak.")


def test_a_folder_as_ljspeech_has_it(spoken, tmp_path, capsys):
    (tmp_path / "wavs").mkdir()
    soundfile.write(tmp_path / "wavs" / "a.wav", spoken[1], 16_000)
    soundfile.write(tmp_path / "wavs" / "b.wav", spoken[1], 16_000)
    (tmp_path / "metadata.csv").write_text(f"a|Pls leave a msg.|{TEXT}\n")
    assert main(["data", "align", "--folder", str(tmp_path)]) == 0
    assert "skipped: wavs/b.wav has no text" in capsys.readouterr().out
    line = read_timeline(tmp_path / "wavs" / "a.json")
    assert line.end == pytest.approx(len(spoken[1]) / 16_000) and "l" in line.names
    assert json.loads((tmp_path / "wavs" / "a.json").read_text())["text"] == TEXT


def test_texts_beside_recordings_as_vctk_has_them(tmp_path):
    (tmp_path / "p225").mkdir()
    (tmp_path / "p225" / "p225_001.txt").write_text("Please call Stella.\n")
    assert transcripts(tmp_path, None) == {"p225_001": "Please call Stella."}


@pytest.mark.parametrize(
    ("table", "told"), [("a b c\n", "metadata.csv line 1: 'a b c': expected NAME|text"), (None, "has no texts")]
)
def test_texts_that_are_none(tmp_path, table, told):
    if table:
        (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(UserError, match=told.replace("|", r"\|")):
        align_folder(tmp_path, None, print)


def test_every_phone_of_our_sentences_is_known_to_the_aligner():
    from wavenet.made_speech import WORDS

    for some in WORDS["en"]:
        for part in some:
            names = timeline(say(part, "en-us").phones, 1.0).names
            assert set(names) - {PAUSE} <= CMU.keys(), part
