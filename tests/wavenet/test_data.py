"""From files to crops: what is read, what is skipped and why, and that every sample counts once."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainkit.errors import UserError
from trainkit.mu_law import SILENCE, encode
from trainkit.sound import read
from trainkit.speech.aligned import held_out, normalised, speaker_names
from wavenet.config import DataConfig, ModelConfig
from wavenet.corpus import Recording, load_corpus, split
from wavenet.crops import Cropper


def tone(seconds, rate, hz=440.0, channels=1):
    t = np.arange(int(seconds * rate)) / rate
    sound = 0.5 * np.sin(2 * np.pi * hz * t)
    return np.stack([sound] * channels, 1) if channels > 1 else sound


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """Good files of several kinds, and one of each kind that is bad."""
    place = tmp_path / "sound"
    (place / "p225").mkdir(parents=True)
    (place / "p226").mkdir()
    soundfile.write(place / "p225" / "a.wav", tone(1, 16_000), 16_000)
    soundfile.write(place / "p225" / "b.flac", tone(1, 44_100, channels=2), 44_100)
    soundfile.write(place / "p226" / "c.ogg", tone(1, 8_000), 8_000)
    soundfile.write(place / "p226" / "d.wav", tone(0.5, 16_000), 16_000)
    soundfile.write(place / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(place / "short.wav", np.zeros(0), 16_000)
    (place / "empty.wav").write_bytes(b"")
    (place / "broken.wav").write_bytes(b"RIFF, but nothing of it is true")
    (place / "notes.txt").write_text("not sound")
    return place


def test_a_folder(folder):
    corpus = load_corpus(DataConfig(folder=str(folder), speakers="folder", trim_db=None))
    both = {r.name: r for r in [*corpus.train, *corpus.validation]}
    assert sorted(both) == ["p225/a.wav", "p225/b.flac", "p226/c.ogg", "p226/d.wav"]
    assert [len(both[name].samples) for name in sorted(both)] == [16_000, 16_000, 16_000, 8_000]
    assert corpus.speakers[both["p226/c.ogg"].speaker] == "p226"
    reasons = dict(line.split(" ", 1) for line in corpus.skipped)
    assert reasons["empty.wav"] == "is empty" and reasons["silent.wav"] == "is silent"
    assert reasons["short.wav"] == "has no samples" and reasons["broken.wav"].startswith("can't be read (")
    assert len(corpus.skipped) == 4
    for recording in both.values():
        peak = np.abs(np.fft.rfft(recording.sound))
        assert peak.argmax() * 16_000 / len(recording.samples) == pytest.approx(440, abs=2), "resampled, not sped up"


def test_silence_at_the_ends_is_cut_off(tmp_path):
    sound = np.concatenate([np.zeros(8_000), tone(1, 16_000), np.zeros(8_000)])
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    assert 16_000 <= len(read(tmp_path / "a.wav", 16_000, 40.0)) < 18_000
    assert len(read(tmp_path / "a.wav", 16_000, None)) == 32_000


def test_decoded_sound_is_kept_and_a_changed_file_is_read_anew(folder, cache):
    config = DataConfig(folder=str(folder), trim_db=None)
    first = load_corpus(config)
    kept = sorted((cache / "sound").iterdir())
    assert len(kept) == 4
    again = load_corpus(config)
    for a, b in zip([*first.train, *first.validation], [*again.train, *again.validation], strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
    soundfile.write(folder / "p225" / "a.wav", tone(2, 16_000), 16_000)
    changed = load_corpus(config)
    assert max(len(r.samples) for r in [*changed.train, *changed.validation]) == 32_000


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.write_text("x"), "is a file"),
        (lambda p: p.mkdir(), "has no sound in it"),
        (lambda p: (p.mkdir(), (p / "a.wav").write_bytes(b"")), "0 usable files of 1: a.wav is empty"),
    ],
)
def test_nothing_to_learn_from(tmp_path, make, told):
    make(tmp_path / "x")
    with pytest.raises(UserError, match=told):
        load_corpus(DataConfig(folder=str(tmp_path / "x")))


@given(st.sets(st.text("abc/1", min_size=1, max_size=6), min_size=2, max_size=40), st.floats(0.01, 0.99))
def test_the_split(names, fraction):
    some = [Recording(name, np.zeros(1, np.int16)) for name in sorted(names)]
    train, held = split(some, fraction)
    assert train and held and sorted(r.name for r in [*train, *held]) == sorted(names)
    fewer, held_of_fewer = split(some[:-1], fraction) if len(some) > 2 else (train, held)
    if len(held_of_fewer) > 1 and len(held) > 1 and len(fewer) > 1:
        assert {r.name for r in held_of_fewer} <= {r.name for r in held}, "a file keeps its side"


def test_two_microphones_of_an_utterance_are_on_one_side():
    names = [f"p225/p225_{i:03d}_mic{k}.flac" for i in range(50) for k in (1, 2)]
    train, held = split([Recording(name, np.zeros(1, np.int16)) for name in names], 0.3)
    of_train, of_held = ({r.name[:13] for r in side} for side in (train, held))
    assert of_train and of_held and not of_train & of_held


def test_recordings_of_one_text_are_on_one_side():
    """Whoever reads it, however it is written: as trainkit's own corpus of speech has it."""
    texts = [f"Sentence {chr(97 + i)}." for i in range(20)]
    some = [
        Recording(f"{voice}/{i}.wav", np.zeros(1, np.int16), text=text)
        for voice in "pq"
        for i, text in enumerate(texts)
    ]
    some[3] = replace(some[3], text="  SENTENCE, d")
    train, held = split(some, 0.3)
    of_train, of_held = ({normalised(r.text) for r in side} for side in (train, held))
    assert of_train and not of_train & of_held and len(held) == 2 * len(of_held)
    assert of_held == held_out(map(normalised, texts), 0.3)
    _, held_of_fewer = split(some[:30], 0.3)
    assert {r.name for r in held_of_fewer} <= {r.name for r in held}, "a file keeps its side"


def test_texts_are_those_beside_the_recordings(tmp_path):
    for i, facts in enumerate(['{"text": "One."}', '{"text": "one"}', "[3]", "no JSON", None, '{"text": "Two."}']):
        soundfile.write(tmp_path / f"{i}.wav", tone(0.1, 16_000), 16_000)
        if facts is not None:
            (tmp_path / f"{i}.json").write_text(facts)
    corpus = load_corpus(DataConfig(folder=str(tmp_path)))
    both = {r.name: r.text for r in (*corpus.train, *corpus.validation)}
    assert [both[f"{i}.wav"] for i in range(6)] == ["One.", "one", "", "", "", "Two."]
    (tmp_path / "of_one").mkdir()
    for i in range(2):
        (tmp_path / f"{i}.wav").rename(tmp_path / "of_one" / f"{i}.wav")
        (tmp_path / f"{i}.json").rename(tmp_path / "of_one" / f"{i}.json")
    with pytest.raises(UserError, match="all files say one text"):
        load_corpus(DataConfig(folder=str(tmp_path / "of_one")))


def test_speakers_of_one_name_in_two_places_are_two(tmp_path):
    paths = [tmp_path / name for name in ("en/f1/a.wav", "en/f1/b.wav", "ja/f1/a.wav", "ja/m1/a.wav")]
    assert list(speaker_names(paths, tmp_path).values()) == ["en/f1", "en/f1", "ja/f1", "m1"]


def test_floats_on_another_scale_are_left_out_with_a_word(tmp_path):
    """As scipy.io.wavfile.write(name, rate, x.astype(np.float32)) leaves samples of 16 bits."""
    for name, peak in (("a", 1.0), ("b", 0.5), ("over", 2.0), ("of16bits", 9_000.0), ("of24bits", 8_000_000.0)):
        soundfile.write(tmp_path / f"{name}.wav", 2 * peak * tone(0.5, 16_000), 16_000, subtype="FLOAT")
    corpus = load_corpus(DataConfig(folder=str(tmp_path)))
    used = {r.name: np.abs(r.sound).max() for r in (*corpus.train, *corpus.validation)}
    assert set(used) == {"a.wav", "b.wav", "over.wav"} and used["b.wav"] == pytest.approx(0.5, abs=0.01)
    one, other = corpus.skipped
    assert one.startswith("of16bits.wav has samples up to 9,000; expected -1 to 1") and "32,768" in one
    assert other.startswith("of24bits.wav has samples up to 8,000,000;")


def test_a_name_that_is_no_utf_8_is_used_and_shown_as_far_as_it_can_be(tmp_path):
    voice = os.fsencode(tmp_path) + b"/Jos\xe9"  # in Latin-1
    os.mkdir(voice)
    for name in (b"a.wav", b"caf\xe9.wav", b"broken\xe9.wav"):
        path = Path(os.fsdecode(voice + b"/" + name))
        with path.open("wb") as file:
            soundfile.write(file, tone(1, 16_000), 16_000, format="WAV")
    path.write_bytes(b"no sound")
    config = DataConfig(folder=str(tmp_path), speakers="folder")
    for _ in range(2):  # decoded, then from the cache
        corpus = load_corpus(config)
        both = {r.name: len(r.samples) for r in (*corpus.train, *corpus.validation)}
        assert both == {r"Jos\xe9/a.wav": 16_000, r"Jos\xe9/caf\xe9.wav": 16_000}
        assert corpus.speakers == [r"Jos\xe9"]
        assert corpus.skipped[0].startswith(r"Jos\xe9/broken\xe9.wav can't be read")
        "".join([*both, *corpus.speakers, *corpus.skipped]).encode("ascii")


SMALL = ModelConfig(cycles=1, layers_per_cycle=3, residual=4, skip=4, head=4)  # sees 9 samples


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(1, 20), st.integers(1, 4))
def test_every_sample_is_counted_once_with_its_past(lengths, segment, size):
    rng = np.random.default_rng(0)
    recordings = [Recording(str(i), rng.integers(-9_000, 9_000, n).astype(np.int16)) for i, n in enumerate(lengths)]
    counted = [[] for _ in recordings]
    codes = [encode(r.sound).tolist() for r in recordings]
    places = [(i, s) for i, n in enumerate(lengths) for s in range(0, n, segment)]
    turn = iter(places)
    for crops in Cropper(SMALL, segment).all(recordings, size):
        assert crops.context == SMALL.receptive_field
        for row, real in zip(crops.samples, crops.counted, strict=True):
            i, start = next(turn)
            before = ([SILENCE] * crops.context + codes[i])[start : start + crops.context]
            assert row[: crops.context].tolist() == before
            counted[i] += row[crops.context :][real].tolist()
    assert counted == codes


def test_some_batches_are_spread_over_all_recordings_and_shared_out():
    recordings = [Recording(str(i), np.full(50, 1 + i, np.int16), i) for i in range(40)]
    cropper = Cropper(SMALL, 10)  # 5 crops of each
    some = list(cropper.all(recordings, 8, most=5))
    speakers = torch.cat([crops.speakers for crops in some]).tolist()
    assert len(some) == 5 and speakers == list(range(40))
    shares = [torch.cat([c.speakers for c in cropper.all(recordings, 8, 5, slice(i, None, 2))]) for i in range(2)]
    assert sorted(torch.cat(shares).tolist()) == speakers
    assert sum(len(c.speakers) for c in cropper.all(recordings, 8, most=100)) == 200


def test_random_crops_follow_the_seed():
    recordings = [Recording("a", np.random.default_rng(0).integers(1, 9_000, 500).astype(np.int16), 3)]
    cropper = Cropper(SMALL, 16)
    one, same, other = (cropper.random(recordings, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.samples.equal(same.samples) and not one.samples.equal(other.samples)
    assert (one.speakers == 3).all() and one.counted.any(1).all()


def test_random_crops_have_every_sample_equally_often():
    lengths = [100, 7, 300]  # one shorter than a crop
    starts = np.cumsum([1, *lengths])
    recordings = [
        Recording(str(i), np.arange(s, s + n, dtype=np.int16))
        for i, (s, n) in enumerate(zip(starts, lengths, strict=False))
    ]
    cropper = Cropper(SMALL.model_copy(update={"output": "logistics"}), 16)
    crops = cropper.random(recordings, 40_000, np.random.default_rng(0))
    heard = crops.samples[:, crops.context :][crops.counted] * 32_768
    seen = np.bincount(heard.round().long().numpy(), minlength=408)[1:]
    assert seen.min() > 0.9 * seen.mean() and seen.max() < 1.1 * seen.mean()
