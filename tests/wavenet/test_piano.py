"""Scores to notes to sound, on music21's and the soundfont's own."""

import json

import numpy as np
import pytest
import soundfile

from trainkit.errors import UserError
from wavenet.cli import main
from wavenet.piano import RELEASE_S, make, notes_of, play

RATE = 16_000


def test_notes_of_a_score_by_hand():
    from music21 import chord, note, stream, tempo, tie

    part = stream.Part()
    part.append(tempo.MetronomeMark(number=120))  # a quarter lasts half a second
    part.append(note.Note("A4", quarterLength=1))
    part.append(note.Rest(quarterLength=1))
    part.append(chord.Chord(["C4", "E4"], quarterLength=2))
    held, rest_of_it = note.Note("G4", quarterLength=1), note.Note("G4", quarterLength=1)
    held.tie, rest_of_it.tie = tie.Tie("start"), tie.Tie("stop")
    part.append([held, rest_of_it])
    found = [(start, end, pitch) for start, end, pitch, _ in notes_of(stream.Score([part]))]
    assert found == [(0.0, 0.5, 69), (1.0, 2.0, 60), (1.0, 2.0, 64), (2.0, 3.0, 67)]


def test_a_note_sounds_when_and_as_high_as_it_should():
    sound = play([(0.5, 1.5, 69, 90)], RATE)
    assert len(sound) == pytest.approx((1.5 + RELEASE_S) * RATE, abs=64)
    assert np.abs(sound).max() == pytest.approx(0.8) and np.abs(sound[: int(0.49 * RATE)]).max() < 1e-3
    assert np.abs(sound[int(0.5 * RATE) : int(0.52 * RATE)]).max() > 0.01
    spectrum = np.abs(np.fft.rfft(sound[int(0.6 * RATE) : int(1.4 * RATE)]))
    assert np.argmax(spectrum) * RATE / int(0.8 * RATE) == pytest.approx(440, rel=0.01)


def test_a_repeated_note_is_struck_again():
    sound = play([(0.0, 0.5, 60, 90), (0.5, 1.0, 60, 90)], RATE)
    before, after = sound[int(0.45 * RATE) : int(0.5 * RATE)], sound[int(0.52 * RATE) : int(0.57 * RATE)]
    assert np.abs(after).max() > 1.2 * np.abs(before).max()


def test_a_corpus(tmp_path, capsys):
    assert main(["data", "piano", "--minutes", "0.1", "--out", str(tmp_path / "piano")]) == 0
    (file,) = (tmp_path / "piano").glob("*.wav")
    assert "piano: 1 pieces" in capsys.readouterr().out
    facts = json.loads(file.with_suffix(".json").read_text())
    assert facts["piece"].startswith("mozart/k545") and len(facts["notes"]) > 100
    assert soundfile.info(file).duration == pytest.approx(facts["seconds"])


def test_tunes_have_one_voice(tmp_path):
    make(tmp_path, "tunes", 0.5, 8_000, None, print)
    facts = json.loads(next(tmp_path.glob("ryansMammoth-*.json")).read_text())
    starts, ends = np.array(facts["notes"])[:, :2].T
    assert len(starts) > 50 and np.all(ends[:-1] <= starts[1:] + 1e-3)


@pytest.mark.parametrize(("name", "told"), [("none.sf2", "does not exist"), ("bad.sf2", "can't be read")])
def test_a_soundfont_that_is_none(tmp_path, name, told):
    (tmp_path / "bad.sf2").write_bytes(b"no soundfont")
    with pytest.raises(UserError, match=told):
        make(tmp_path / "out", "pieces", 1, RATE, tmp_path / name, print)


def test_zero_minutes_are_refused(capsys):
    assert main(["data", "piano", "--minutes", "0"]) == 2
    assert "--minutes 0: expected more than 0" in capsys.readouterr().err
