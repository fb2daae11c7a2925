"""eSpeak NG by its C library: speech with the exact time of every phoneme (pip install 'apex-ray[speech]'; GPL-3).

Its voices are made, not recorded: what is learned from them is a synthesiser. They say any text in a hundred languages,
with timings that no aligner has to guess.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.errors import UserError, did_you_mean, optional
from trainkit.speech.reading import as_spoken

_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8, _CHARACTERS = 2, 1, 1, 1  # of speak_lib.h
_LIST_END, _WORD, _END, _PHONEME = 0, 1, 5, 7


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class UnsayableError(UserError):
    """A text in which there is nothing to say; another text may do."""


@dataclass(frozen=True)
class Utterance:
    """What was said."""

    sound: npt.NDArray[np.float32]  # [N] in [-1, 1]
    rate: int
    phones: tuple[tuple[float, str], ...]  # (start in seconds, phoneme); "_" is a pause
    words: tuple[int, ...]  # the number of the word that each phone belongs to, from 1; 0: before the first
    ends: dict[int, str]  # by the number of a clause's last word, the two characters of the text where it ends

    @property
    def seconds(self) -> float:
        return len(self.sound) / self.rate


def _loader() -> Any:
    return optional("espeakng_loader")


@cache
def _library() -> tuple[Any, int]:
    """(library, its sample rate)."""
    loader = _loader()
    library = ctypes.CDLL(str(loader.get_library_path()))
    data = str(loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS)
    if rate <= 0:
        raise UserError(f"eSpeak NG does not start with its data in {data.decode()}")
    return library, int(rate)


def _variants() -> Path:
    """The folder with a file for each voice variant."""
    return Path(_loader().get_data_path()) / "voices" / "!v"


def choose(language: str, voice: str = "") -> None:
    """Let eSpeak NG speak as `synthesize` is told to. UserError for an unknown language or voice."""
    library, _ = _library()
    # The library itself takes a variant that it does not have for none.
    known = [path.name for path in _variants().glob("*")] if voice else []
    if voice and voice not in known:
        hint = did_you_mean(voice.lower(), known)
        raise UserError(
            f"voice {voice!r} is unknown to eSpeak NG; expected f1 to f5, m1 to m8, "
            f"or the name of another file in {_variants()}.{hint}"
        )
    if library.espeak_SetVoiceByName(f"{language}+{voice}".encode() if voice else language.encode()) != 0:
        raise UserError(f"language {language!r} is unknown to eSpeak NG; expected one such as en-us or ja")


def synthesize(text: str, language: str, voice: str = "") -> Utterance:
    """`text` in `language` (en-us, ja, ...), by a voice variant (f1 to f5, m1 to m8; empty: the language's own).

    UserError for an unknown language or voice; UnsayableError for text in which there is nothing to say.
    """
    library, rate = _library()
    choose(language, voice)
    spoken = as_spoken(text, language)
    parts, phones, word = list[npt.NDArray[np.int16]](), list[tuple[float, str, int]](), 0
    ends = dict[int, str]()

    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        nonlocal word
        i = 0
        while events[i].type != _LIST_END:
            word += events[i].type == _WORD
            if events[i].type == _END:  # its place is behind the clause, or at its end where the text ends, from 1
                ends[word] = spoken[max(events[i].text_position - 2, 0) : events[i].text_position]
            if events[i].type == _PHONEME:
                phone = bytes(events[i].id.string).split(b"\0")[0].decode("utf-8", "replace")
                phones.append((events[i].audio_position / 1000, phone or "_", word))
            i += 1
        return 0

    callback = _CALLBACK(receive)
    library.espeak_SetSynthCallback(callback)
    encoded = spoken.encode()
    failed = library.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    if failed or not parts or all(name.startswith("_") for _, name, _ in phones):
        raise UnsayableError(f"eSpeak NG can say nothing of {text!r} in {language!r}")
    sound = np.concatenate(parts).astype(np.float32) / np.float32(32_768)
    phones.sort(key=lambda p: p[0])
    names, words = tuple((start, name) for start, name, _ in phones), tuple(word for *_, word in phones)
    return Utterance(sound, rate, names, words, ends)
