"""Forced alignment against eSpeak NG's own times, which no aligner has to guess."""

import json

import librosa
import numpy as np
import pytest
import soundfile

from trainkit.errors import UserError
from trainkit.speech.alignment import CMU, Aligner, align_folder, transcripts
from trainkit.speech.espeak import synthesize
from trainkit.speech.phones import PAUSE, bare, read_timeline, timeline
from wavenet.cli import main

TEXT = "Please leave a message after the tone."


@pytest.fixture(scope="module")
def spoken():
    said = synthesize(TEXT, "en-us", "f1")
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


@pytest.mark.parametrize(
    "names",
    [
        ("wav48/p225/p225_001.wav",),
        ("wav48_silence_trimmed/p225/p225_001_mic1.flac", "wav48_silence_trimmed/p225/p225_001_mic2.flac"),
    ],
)
def test_a_folder_as_vctk_has_it(spoken, tmp_path, names):
    (tmp_path / "txt" / "p225").mkdir(parents=True)
    (tmp_path / "txt" / "p225" / "p225_001.txt").write_text(f"{TEXT}\n")
    (tmp_path / "README.txt").write_bytes(b"\x93the corpus\x94")  # is no text of a recording
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, spoken[1], 16_000)
    assert align_folder(tmp_path, None, print) == len(names)
    for name in names:
        assert json.loads((tmp_path / name).with_suffix(".json").read_text())["text"] == TEXT


def test_texts_beside_recordings(tmp_path):
    (tmp_path / "p225").mkdir()
    (tmp_path / "p225" / "a.txt").write_text("Please call Stella.\n", encoding="utf-8-sig")
    (tmp_path / "p225" / "a_mic1.txt").write_text("By its whole name first.\n")
    recordings = [tmp_path / "p225" / name for name in ("a.wav", "a_mic1.wav", "a_mic2.wav", "b.wav")]
    assert transcripts(tmp_path, None, recordings) == {
        "a": "Please call Stella.",
        "a_mic1": "By its whole name first.",
    }


def test_a_text_with_nothing_to_say_is_left_out(spoken, tmp_path, capsys):
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", spoken[1], 16_000)
    # With the mark that editors on Windows begin a file with, which is not of the first name.
    (tmp_path / "metadata.csv").write_text(f"a|{TEXT}\nb|\nc|...\n", encoding="utf-8-sig")
    assert main(["data", "align", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "skipped: b.wav has a text in which there is nothing to say: ''" in out
    assert "skipped: c.wav has a text in which there is nothing to say: '...'" in out
    assert "1 of 3 recordings aligned" in out and (tmp_path / "a.json").exists()


def test_an_error_that_concerns_every_recording_ends_it(spoken, tmp_path, monkeypatch, capsys):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", spoken[1], 16_000)
    (tmp_path / "metadata.csv").write_text(f"a|{TEXT}\nb|{TEXT}\n")
    monkeypatch.setattr("trainkit.speech.alignment.VOICE", "xx")
    assert main(["data", "align", "--folder", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert "language 'xx' is unknown to eSpeak NG" in told.err and "skipped" not in told.out


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (b"a b c\n", "metadata.csv line 1: 'a b c': expected NAME|text"),
        ("a|café\n".encode("latin-1"), "metadata.csv can't be read as UTF-8"),
        (None, "has no texts"),
    ],
)
def test_texts_that_are_none(tmp_path, table, told):
    (tmp_path / "a.wav").touch()
    if table:
        (tmp_path / "metadata.csv").write_bytes(table)
    with pytest.raises(UserError, match=told.replace("|", r"\|")):
        align_folder(tmp_path, None, print)


def test_a_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt can't be read as UTF-8"):
        align_folder(tmp_path, None, print)
    with pytest.raises(UserError, match=r"none\.csv can't be read: No such file"):
        align_folder(tmp_path, tmp_path / "none.csv", print)


def test_a_folder_without_recordings(tmp_path):
    with pytest.raises(UserError, match=r"has no recordings; expected files in \.wav"):
        align_folder(tmp_path, None, print)


def test_every_phone_of_our_sentences_is_known_to_the_aligner():
    from trainkit.speech.made_speech import WORDS

    for some in WORDS["en"]:
        for part in some:
            names = timeline(synthesize(part, "en-us").phones, 1.0).names
            assert set(names) - {PAUSE} <= CMU.keys(), part
