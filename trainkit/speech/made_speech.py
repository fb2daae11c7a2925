"""A corpus of made speech: sentences of ours or of a file, said by eSpeak NG, with their phones beside them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from trainkit.compiled_sound import librosa
from trainkit.errors import UserError, did_you_mean
from trainkit.sound import write_with_facts
from trainkit.speech.espeak import UnsayableError, choose, synthesize
from trainkit.speech.reading import text_of
from trainkit.speech.spoken import LANGUAGES, words_of
from trainkit.words import Say

# Who, what they do, with what, where: every combination is a sentence. Together they have nearly all phones.
WORDS = {
    "en": (
        ("The old teacher", "My little sister", "A tall man", "The quick fox", "Our neighbour", "Every child here",
         "That young judge", "Your father", "The whole choir", "A foolish thief", "Nobody else", "This engineer"),
        ("quietly opens", "never forgets", "is looking for", "has already sold", "would like to paint", "should bring",
         "measures", "throws away", "can hardly use", "enjoys", "chooses", "might have broken"),
        ("the yellow box", "a cup of tea", "three heavy books", "the long letter", "his brother's watch",
         "fresh bread", "a pair of gloves", "the loud machine", "some good advice", "the usual treasure", "hot soup",
         "five blue chairs"),
        ("in the garden.", "before the storm.", "on Thursday morning.", "near the river.", "without a word.",
         "again.", "at half past nine.", "for the queen.", "under a huge oak.", "with both hands.", "by the church.",
         "all year."),
    ),
    # As spoken, in kana: わ for the particle は.
    "ja": (
        ("せんせいわ", "いもうとわ", "せのたかい ひとわ", "となりの いぬわ", "ともだちわ", "こどもたちわ",
         "まちの いしゃわ", "ちちわ", "りょこうしゃわ", "ねこも", "がくせいが", "わたしたちわ"),
        ("にわで", "あさはやく", "かわの そばで", "もくようびに", "ひとりで", "もういちど",
         "えきまえで", "なつやすみに", "しずかに", "くじはんに", "やまの うえで", "ひゃっかい"),
        ("きいろい はこを", "ながい てがみを", "おちゃを", "さんさつの ほんを", "あたらしい パンを", "ふるい うたを",
         "しろい ゆきを", "ピアノを", "じてんしゃを", "さかなの えを", "あつい スープを", "びょうきの ことを"),
        ("あけます。", "わすれません。", "さがしています。", "かいました。", "みたいです。", "もってきます。",
         "えらぶでしょう。", "かんがえます。", "よびました。", "つかわない。", "れんしゅうしよう。", "ください。"),
    ),
}  # fmt: skip


def make(
    folder: Path,
    languages: Sequence[str],
    voices: Sequence[str],
    sentences: int,
    rate: int,
    text: Path | None,
    say: Say,
) -> None:
    """Write folder/LANGUAGE-VOICE/NNNN.wav and .json, `sentences` a language, the voices taking turns.

    A sentence in which there is nothing to say is told and left out. UserError for an unknown language or for voices
    that eSpeak lacks, before anything is made; when no sentence is left; and when the folder can't be written.
    """
    for language in languages:
        if language not in LANGUAGES:
            hint = did_you_mean(language, LANGUAGES)
            raise UserError(f"--language {language!r}: expected one of {', '.join(LANGUAGES)}.{hint}")
    for language, voice in product(languages, voices):
        choose(LANGUAGES[language], voice)
    for language in languages:
        count, seconds = 0, 0.0
        for sentence in _sentences(language, text):
            voice = voices[count % len(voices)]
            try:
                seconds += _one(folder / f"{language}-{voice}", f"{count:04d}", sentence, language, voice, rate)
            except UnsayableError as error:
                say(f"skipped: {error}")
                continue
            count += 1
            if count == sentences:
                break
        if not count:
            raise UserError(f"--text {str(text)!r}: none of its lines can be said in {language!r}")
        say(f"{language}: {count} sentences, {seconds / 60:.1f} min, in {folder}")


def _sentences(language: str, text: Path | None) -> list[str]:
    """All there are, in the order in which they are said."""
    if text is not None:
        lines = [line.strip() for line in text_of(text, f"--text {str(text)!r}").splitlines() if line.strip()]
        if not lines:
            raise UserError(f"--text {str(text)!r} is empty; expected a sentence a line")
        return lines
    every = [" ".join(parts) for parts in product(*WORDS[language])]
    return [every[i] for i in np.random.default_rng(0).permutation(len(every))]


def _one(folder: Path, name: str, sentence: str, language: str, voice: str, rate: int) -> float:
    utterance = synthesize(sentence, LANGUAGES[language], voice)
    sound = librosa.resample(utterance.sound, orig_sr=utterance.rate, target_sr=rate)
    facts = {
        "text": sentence,
        "language": language,
        "voice": voice,
        "seconds": utterance.seconds,
        "phones": [[round(start, 4), phone] for start, phone in utterance.phones],
        "words": [[len(names), mark] for names, mark in words_of(utterance)],
    }
    write_with_facts(folder / f"{name}.wav", sound, rate, facts)
    return utterance.seconds
