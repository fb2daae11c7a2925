"""A corpus of piano: scores of music21's corpus, or tunes of a single voice, played by a soundfont's piano.

pip install 'apex-ray[piano]' && pip install --no-deps tinysoundfont (its own dependency is a player that we have no use
for). The soundfont is TimGM6mb, which pretty_midi brings, or any other .sf2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainkit.errors import UserError, optional
from trainkit.sound import write_with_facts
from trainkit.words import Say
from wavenet.notes import Note

Music = Literal["pieces", "tunes"]
# Written for the piano first; then chorales, four voices that two hands can play.
PIECES = (
    "mozart/k545/movement1_exposition", "chopin/mazurka06-2", "joplin/maple_leaf_rag",
    "schumann_clara/opus17/movement3", "schumann_clara/polonaise_op1n1", "schumann_clara/polonaise_op1n2",
    "schumann_clara/polonaise_op1n3", "schumann_clara/polonaise_op1n4",
)  # fmt: skip
CHORALES = "bach"
TUNES = "ryansMammoth"  # dance tunes of one voice, over a thousand
PEAK = 0.8  # of full scale, that each piece is brought to
RELEASE_S = 1.0  # that the last notes ring on
BLOCK = 64  # samples between two looks at the notes


def make(folder: Path, music: Music, minutes: float, rate: int, soundfont: Path | None, say: Say) -> None:
    """Write folder/PIECE.wav, and PIECE.json with its notes, until there are `minutes` of music.

    UserError when a library or the soundfont is missing, or the folder can't be written.
    """
    seconds, count = 0.0, 0
    for name, score in _scores(music):
        notes = notes_of(score)
        if not notes:
            continue
        sound = play(notes, rate, soundfont)
        facts = {
            "piece": name,
            "seconds": len(sound) / rate,
            "notes": [[round(s, 4), round(e, 4), p, v] for s, e, p, v in notes],
        }
        stem = re.sub(r"[^A-Za-z0-9]+", "-", name)
        write_with_facts(folder / f"{stem}.wav", sound, rate, facts)
        seconds, count = seconds + len(sound) / rate, count + 1
        if seconds >= 60 * minutes:
            break
    say(f"piano: {count} pieces, {seconds / 60:.1f} min, in {folder}")


def _scores(music: Music) -> Iterable[tuple[str, Any]]:
    optional("music21")
    from music21 import corpus

    if music == "pieces":
        for name in PIECES:
            yield name, corpus.parse(name)
    composer = CHORALES if music == "pieces" else TUNES
    for path in corpus.getComposer(composer):
        yield f"{composer}/{Path(path).stem}", corpus.parse(path)


def notes_of(score: Any) -> list[Note]:
    """Every note of a music21 score in the order of their starts, at its tempo, repeats not played."""
    found = list[Note]()
    for placed in score.stripTies().flatten().secondsMap:
        element, start, length = placed["element"], float(placed["offsetSeconds"]), float(placed["durationSeconds"])
        if not length or not (pitches := getattr(element, "pitches", ())):
            continue
        velocity = int(np.clip(127 * element.volume.realized, 1, 127)) if hasattr(element, "volume") else 90
        found += [(start, start + length, int(pitch.midi), velocity) for pitch in pitches]
    return sorted(found)


def play(notes: Iterable[Note], rate: int, soundfont: Path | None = None) -> npt.NDArray[np.float32]:
    """Mono sound [N] of notes on the soundfont's first instrument, a grand piano; starts are kept to 4 ms."""
    synth = _synth(rate, soundfont)
    # Ends before starts where they meet, or a repeated note would be cut off at once.
    events = sorted(
        [(start, 1, pitch, v) for start, _, pitch, v in notes] + [(end, 0, pitch, 0) for _, end, pitch, _ in notes]
    )
    total = int((events[-1][0] + RELEASE_S) * rate)
    parts, i = list[npt.NDArray[np.float32]](), 0
    for at in range(0, total, BLOCK):
        while i < len(events) and events[i][0] * rate < at + BLOCK:
            _, starts, pitch, velocity = events[i]
            if starts:
                synth.noteon(0, pitch, velocity)
            else:
                synth.noteoff(0, pitch)
            i += 1
        stereo = np.frombuffer(synth.generate(BLOCK), np.float32).reshape(-1, 2)
        parts.append(stereo.mean(axis=1))
    sound = np.concatenate(parts)
    loudest = float(np.abs(sound).max())
    return (sound * (PEAK / loudest)).astype(np.float32) if loudest else sound


def _synth(rate: int, soundfont: Path | None) -> Any:
    player = optional("tinysoundfont")
    if soundfont is None:
        soundfont = Path(optional("pretty_midi", "--soundfont FILE.sf2").__file__).parent / "TimGM6mb.sf2"
    if not soundfont.is_file():
        raise UserError(f"--soundfont {str(soundfont)!r} does not exist; expected a .sf2 file")
    synth = player.Synth(samplerate=rate)
    try:
        synth.program_select(0, synth.sfload(str(soundfont)), 0, 0)
    except Exception as error:
        raise UserError(f"--soundfont {str(soundfont)!r} can't be read: {error}") from None
    return synth
