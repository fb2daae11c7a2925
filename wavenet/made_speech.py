"""A corpus of made speech: sentences of ours or of a file, said by eSpeak NG, with their phones beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import librosa
import numpy as np

from cluster.errors import UserError, did_you_mean
from wavenet.espeak import say
from wavenet.sound import write

LANGUAGES = {"en": "en-us", "ja": "ja"}
# Who, what they do, with what, where: every combination is a sentence.
WORDS = {
    "en": (
        ("The old teacher", "My little sister", "A tall man", "The quick fox", "Our neighbour", "Every child here"),
        ("quietly opens", "never forgets", "is looking for", "has already sold", "would like to paint", "should bring"),
        ("the yellow box", "a cup of tea", "three heavy books", "the long letter", "his brother", "fresh bread"),
        ("in the garden.", "before the storm.", "on Thursday morning.", "near the river.", "without a word.", "again."),
    ),
    "ja": (
        ("先生は", "妹は", "背の高い人は", "となりの犬は", "友だちは", "子どもたちは"),
        ("庭で", "朝早く", "川のそばで", "木曜日に", "一人で", "もう一度"),
        ("黄色い箱を", "長い手紙を", "お茶を", "三さつの本を", "新しいパンを", "古い歌を"),
        ("開けます。", "忘れません。", "さがしています。", "買いました。", "見たいです。", "持って来ます。"),
    ),
}  # fmt: skip


def make(
    folder: Path,
    languages: Sequence[str],
    voices: Sequence[str],
    sentences: int,
    rate: int,
    text: Path | None,
    told: Callable[[str], None],
) -> None:
    """Write folder/LANGUAGE-VOICE/NNNN.wav and .json, `sentences` a language, the voices taking turns.

    UserError for an unknown language, for voices that eSpeak lacks, and when the folder can't be written.
    """
    for language in languages:
        if language not in LANGUAGES:
            hint = did_you_mean(language, LANGUAGES)
            raise UserError(f"--language {language!r}: expected one of {', '.join(LANGUAGES)}.{hint}")
    for language in languages:
        chosen = _sentences(language, sentences, text)
        seconds = 0.0
        for i, sentence in enumerate(chosen):
            voice = voices[i % len(voices)]
            seconds += _one(folder / f"{language}-{voice}", f"{i:04d}", sentence, language, voice, rate)
        told(f"{language}: {len(chosen)} sentences, {seconds / 60:.1f} min, in {folder}")


def _sentences(language: str, count: int, text: Path | None) -> list[str]:
    if text is not None:
        try:
            lines = [line.strip() for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--text {str(text)!r} can't be read as UTF-8: {error}") from None
        if not lines:
            raise UserError(f"--text {str(text)!r} is empty; expected a sentence a line")
        return lines[:count]
    glue = " " if language == "en" else ""
    every = [glue.join(parts) for parts in product(*WORDS[language])]
    return [every[i] for i in np.random.default_rng(0).permutation(len(every))[:count]]


def _one(folder: Path, name: str, sentence: str, language: str, voice: str, rate: int) -> float:
    said = say(sentence, LANGUAGES[language], voice)
    sound = librosa.resample(said.sound, orig_sr=said.rate, target_sr=rate)
    facts = {
        "text": sentence,
        "language": language,
        "voice": voice,
        "seconds": said.seconds,
        "phones": [[round(start, 4), phone] for start, phone in said.phones],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{name}.wav", sound, rate)
        (folder / f"{name}.json").write_text(json.dumps(facts, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} can't be written: {error.strerror}") from None
    return said.seconds
