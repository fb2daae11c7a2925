"""A text, sentence by sentence, through an acoustic model and a network to sound; and LJSpeech's layout end to end."""

import io
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.lstm import speech_runs
from tests.wavenet.runs import trained
from trainkit.errors import UserError
from trainkit.sound import write as write_sound
from trainkit.speech import acoustic
from trainkit.speech.espeak import UnsayableError, synthesize
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import Frames
from wavenet import checkpoint, speaking
from wavenet.cli import main
from wavenet.speaking import Manner, Speaker
from wavenet.voice import Draws

ROOT = Path(__file__).parents[2]
SETTINGS = FrameSettings(bands=20, window_samples=400)
TINY = (
    "model.cycles=1", "model.layers_per_cycle=4", "model.residual=16", "model.skip=16", "model.head=16",
    "model.local_channels=8", "training.batch=2", "training.segment_samples=1600", "training.steps=3",
    "data.frames.bands=20", "data.frames.window_samples=400", "data.speakers=none",
)  # fmt: skip


class Fake:
    """Says each sentence as 10 frames of noise a word, and remembers what it was asked."""

    settings, languages, speakers = SETTINGS, ("en",), ("anna", "bert")

    def __init__(self):
        self.asked, self.said = [], []

    def speak(self, text, language="en", speaker=None, speed=1.0, pitch=1.0):
        self.asked.append((text, language, speaker, speed, pitch))
        rng = np.random.default_rng(0)
        for sentence in text.split("."):
            if words := sentence.split():
                self.said.append(sentence)
                n = 10 * len(words)
                phones = tuple((0.1 * i, name) for i, name in enumerate("ab" * len(words)) if i < len(words))
                mel = rng.normal(-4, 2, (n, 20)).astype(np.float32)
                yield Frames(SETTINGS, mel, np.full(n, 5, np.float32), np.ones(n, np.bool_), phones)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Recordings with phones, and a network of each kind that learned them a little."""
    folder = tmp_path_factory.mktemp("speaking")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("APEX_CACHE", str(folder / "cache"))
        assert main(["data", "speech", "--voice", "f1", "--sentences", "3", "--out", "made"]) == 0
        runs = {
            name: trained(preset, "data.folder=made", f"name={name}", *TINY)
            for name, preset in (("vocoder", "vocoder"), ("lf", "speech_lf"), ("phones", "speech"))
        }
    return folder, runs


@pytest.fixture
def model(place, monkeypatch):
    monkeypatch.chdir(place[0])
    monkeypatch.setenv("APEX_CACHE", str(place[0] / "cache"))
    fake = Fake()
    monkeypatch.setattr(speaking, "open_acoustic", lambda run: fake)
    return fake


@pytest.mark.parametrize("kind", ["vocoder", "lf"])
def test_the_first_sentence_sounds_before_the_second_is_read(place, model, kind):
    speaker = Speaker(place[1][kind], Manner(acoustic="a", speed=2.0, pitch=0.5), Draws(seed=1), print)
    chunks = speaker.says("One two. Three four five.")
    first = next(chunks)
    assert len(first) == 320 and model.said == ["One two"]
    rest = np.concatenate(list(chunks))
    assert len(first) + len(rest) == 5 * 10 * 160 and model.said == ["One two", " Three four five"]
    assert model.asked == [("One two. Three four five.", "en", "anna", 2.0, 0.5)]


def test_a_text_in_pieces_is_one_sound(place, model, capsys):
    run = str(place[1]["vocoder"])
    assert main(["speak", run, "One two. Three.", "--acoustic", "a", "--out", "whole.wav"]) == 0
    said = capsys.readouterr().err
    assert "0.30 s of sound" in said and "the first after" in said
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO("One two. Three.\n\n"))
        assert main(["speak", run, "--acoustic", "a", "--out", "lines.wav"]) == 0
    whole, lines = (soundfile.read(name)[0] for name in ("whole.wav", "lines.wav"))
    np.testing.assert_array_equal(whole, lines)
    assert len(whole) == 4_800


def test_sound_on_standard_output_is_that_of_the_file(place, model, capsysbinary):
    run = str(place[1]["vocoder"])
    assert main(["speak", run, "One.", "--acoustic", "a", "--out", "file.wav"]) == 0
    capsysbinary.readouterr()
    assert main(["speak", run, "One.", "--acoustic", "a", "--out", "-"]) == 0
    raw = np.frombuffer(capsysbinary.readouterr().out, "<i2")
    file, _ = soundfile.read("file.wav", dtype="int16")
    assert np.abs(raw.astype(int) - file).max() <= 1 and len(raw) == 1_600


def test_who_speaks_is_told_to_both(place, model):
    def asked(run, *speakers, **manner):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "known", lambda _: (list(speakers), []))
            patch.setattr(speaking, "Voice", lambda run, draws, name: heard.append(name) or type("V", (), {"rate": 1}))
            heard = []
            speaker = Speaker(run, Manner(acoustic="a", **manner), Draws(), print)
            return speaker._said_by, heard[0]

    run = place[1]["vocoder"]
    assert asked(run) == ("anna", None), "a network of one voice"
    assert asked(run, speaker="bert") == ("bert", None)
    assert asked(run, "bert", "anna") == ("anna", "anna"), "whom the acoustic model knows first"
    assert asked(run, "bert", "anna", speaker="bert") == ("bert", "bert")
    model.speakers = ("xx-1", "en-2")
    assert asked(run, "xx-1") == ("en-2", None), "who has the language"
    model.speakers = ()
    assert asked(run, "bert", speaker="bert") == (None, "bert")


def test_phones_alone_are_said_at_the_pace_that_is_asked_for(place, model):
    run = str(place[1]["phones"])
    for speed in ("1", "2"):
        assert main(["speak", run, "A tall man. He sings.", "--speed", speed, "--out", f"at{speed}.wav"]) == 0
    slow, fast = (len(soundfile.read(f"at{speed}.wav")[0]) for speed in "12")
    both = sum(synthesize(text, "en-us", "f1").seconds for text in ("A tall man.", "He sings."))
    assert slow == pytest.approx(both * 16_000, abs=300) and fast == pytest.approx(slow / 2, abs=300)
    # An acoustic model's times do as well, whatever its frames are.
    model.settings = SETTINGS.model_copy(update={"bands": 7})
    assert main(["speak", run, "One two three.", "--acoustic", "a", "--out", "told.wav"]) == 0
    assert len(soundfile.read("told.wav")[0]) == 30 * 160


def test_what_can_not_be_said_is_passed_over_and_told(place, model, capsys, monkeypatch):
    run = str(place[1]["phones"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("...\nA tall man.\n"))
    assert main(["speak", run, "--out", "said.wav"]) == 0
    assert "skipped: eSpeak NG can say nothing of '...'" in capsys.readouterr().err
    assert main(["speak", run, "...", "--out", "none.wav"]) == 2
    assert "there is nothing to say" in capsys.readouterr().err and not Path("none.wav").exists()


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("phones", ["--pitch", "1.2"], "a run of phones alone is told no pitch; expected no --pitch"),
        ("phones", ["--pitch", "2", "--acoustic", "a"], "a run of phones alone is told no pitch"),
        ("vocoder", [], "expected --acoustic RUN, which says its frames"),
        ("lf", [], "expected --acoustic RUN, which says its frames"),
        ("vocoder", ["--acoustic", "a", "--speed", "9"], "--speed 9: expected 0.25 to 4"),
        ("vocoder", ["--acoustic", "a", "--language", "jp"], "expected one of en, ja. Did you mean 'ja'?"),
        ("vocoder", ["--acoustic", "a", "--out", "x.mp3"], "ends in .wav or .flac, or -"),
        ("phones", ["--speaker", "carl"], "--speaker 'carl': the run has no speakers"),
    ],
)
def test_what_does_not_fit_together_is_told(place, model, capsys, kind, words, told):
    assert main(["speak", str(place[1][kind]), "One.", *words]) == 2
    assert told in capsys.readouterr().err and not Path("spoken.wav").exists()


def test_frames_of_other_settings_and_texts_of_nothing_are_refused(place, model):
    model.settings = SETTINGS.model_copy(update={"floor": 1e-5})
    with pytest.raises(UserError, match=r"--acoustic 'a': floor = 1e-05; expected 0\.0001"):
        Speaker(place[1]["vocoder"], Manner(acoustic="a"), Draws(), print)
    with pytest.raises(UnsayableError):
        list(Speaker(place[1]["phones"], Manner(), Draws(), print).says("..."))
    with pytest.raises(UserError, match="nothing to say"):
        speaking.speak_to(place[1]["phones"], [], Manner(), Draws(), "x.wav")


TEXTS = (
    "The old teacher opens the yellow box.",
    "My little sister never forgets a cup of tea.",
    "A tall man is looking for three heavy books.",
    "The quick fox has sold the long letter.",
    "Our neighbour should bring fresh bread.",
    "The whole choir enjoys some good advice.",
    "Please leave your name and number after the tone.",
    "Turn left at the corner and walk to the bridge.",
)


@pytest.mark.timeout(300)
def test_ljspeech_from_its_layout_to_a_new_sentence(tmp_path, monkeypatch, capsys):
    """The recipe of docs/wavenet.md, with recordings by eSpeak NG, and a few updates."""
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    wavs = tmp_path / "LJSpeech-1.1" / "wavs"
    wavs.mkdir(parents=True)
    for i, text in enumerate(TEXTS):
        said = synthesize(text, "en-us", "f1")
        write_sound(wavs / f"LJ001-{i:04d}.wav", said.sound, said.rate)  # of 22,050 Hz, as LJSpeech
    table = "".join(f"LJ001-{i:04d}|{text}|{text}\n" for i, text in enumerate(TEXTS))
    (tmp_path / "LJSpeech-1.1" / "metadata.csv").write_text(table)
    assert main(["data", "align", "--folder", "LJSpeech-1.1"]) == 0
    assert len(list(wavs.glob("*.json"))) >= 4, capsys.readouterr().out
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][acoustic.ACOUSTIC_MODELS]
    points = [EntryPoint(name, value, acoustic.ACOUSTIC_MODELS) for name, value in entries.items()]
    monkeypatch.setattr(
        acoustic, "entry_points", lambda group, name=None: [p for p in points if name in (None, p.name)]
    )
    window = "speech.frames.window_samples=400"
    says = speech_runs.trained(tmp_path / "LJSpeech-1.1", window, "training.steps=5", "training.validate_every_steps=5")
    from lstm.cli import main as lstm

    assert lstm(["frames", str(says), "--folder", "LJSpeech-1.1", "--out", "said"]) == 0
    kept = [word for word in TINY if word != "data.speakers=none"]
    sounds = trained("vocoder", "data.folder=LJSpeech-1.1", "data.said_frames=said", *kept)
    assert checkpoint.known(sounds)[0] == ["wavs"]
    for run in (sounds, trained("speech_lf", "data.folder=LJSpeech-1.1", *kept)):
        words = [str(run), "Nobody else sings. It is 9 o'clock.", "--acoustic", str(says), "--out", "new.flac"]
        assert main(["speak", *words]) == 0
        made, rate = soundfile.read("new.flac")
        assert rate == 16_000 and len(made) > 0.2 * rate and np.abs(made).max() > 0
        Path("new.flac").unlink()
    assert main(["evaluate", str(sounds)]) == 0
    assert "with an acoustic model's frames" in capsys.readouterr().out
