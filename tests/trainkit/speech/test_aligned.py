"""Tokens of a text, their times in a recording, and the split by text."""

import json

import numpy as np
import pytest
import soundfile

from trainkit.errors import UserError
from trainkit.sound import UnusableError
from trainkit.speech.aligned import held_out, normalised, read_aligned, read_corpus
from trainkit.speech.espeak import Utterance
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.phones import PAUSE
from trainkit.speech.reading import LONGEST, sentences
from trainkit.speech.spoken import spoken, tokens, words_of

WORDS = [[2, ","], [1, "?"]]
PHONES = [[0.03, "h"], [0.05, "'oU"], [0.11, "_:"], [0.2, "_"], [0.26, ",aI"]]  # a pause after the first word


def written(folder, name="a", text="Oh, I?", **changes):
    facts = {"text": text, "seconds": 0.4, "phones": PHONES, "words": WORDS} | changes
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.wav"
    soundfile.write(file, 0.1 * np.sin(np.arange(6_400) / 9), 16_000)
    file.with_suffix(".json").write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))
    return file


def test_tokens_are_phones_and_the_ends_of_words():
    found = [(t.name, t.stress, t.mark, t.place, t.length) for t in tokens([(["h", "'oU"], ","), ([",aI"], "?")])]
    assert found == [
        (PAUSE, 0, "^", 0, 0),
        ("h", 0, "", 0, 2),
        ("oU", 1, "", 1, 2),
        (PAUSE, 0, ",", 0, 0),
        ("aI", 2, "", 0, 1),
        (PAUSE, 0, "?", 0, 0),
    ]


def test_when_each_token_is_said(tmp_path):
    aligned = read_aligned(written(tmp_path))
    assert aligned.language == "en" and [t.name for t in aligned.tokens] == [PAUSE, "h", "oU", PAUSE, "aI", PAUSE]
    np.testing.assert_allclose(aligned.ends, [0.03, 0.05, 0.11, 0.26, 0.4, 0.4])
    assert aligned.durations(40, 0.01).tolist() == [3, 2, 6, 15, 14, 0]
    # The middles of frames of 40 ms are at 20, 60, 100 ..: the phone from 30 to 50 ms has none of them.
    assert aligned.durations(10, 0.04).tolist() == [1, 0, 2, 3, 4, 0]
    assert aligned.durations(8, 0.04).sum() == 8 and aligned.durations(12, 0.04).sum() == 12


def test_words_without_a_pause_between_them(tmp_path):
    aligned = read_aligned(written(tmp_path, phones=[[0.0, "h"], [0.1, "'oU"], [0.2, "aI"], [0.3, "_"]]))
    np.testing.assert_allclose(aligned.ends, [0, 0.1, 0.2, 0.2, 0.3, 0.4])


def test_a_pause_within_a_word_is_of_the_phone_before(tmp_path):
    aligned = read_aligned(written(tmp_path, phones=[[0.0, "h"], [0.1, "_!"], [0.2, "oU"], [0.3, "aI"]]))
    np.testing.assert_allclose(aligned.ends, [0, 0.2, 0.3, 0.3, 0.4, 0.4])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"words": None}, "has no words in a.json: make it anew by apex-wavenet data align"),
        ({"words": [[2, ","]]}, "has 3 phones in a.json, which its words do not add up to"),
        ({"words": [[3, ","], [0, "."]]}, "do not add up to"),
        ({"words": [3]}, "has phones in a.json that can't be read"),
        ({"phones": [[1, "h"], [0, "oU"], [2, "aI"]]}, "none, or out of order"),
        ({"phones": []}, "none, or out of order"),
        ({"text": None}, r"has phones in a.json that can't be read \('text'\)"),
        ({"language": "xx"}, "has the language 'xx' in a.json; expected one of en, ja"),
        ({"seconds": "long"}, "can't be read"),
    ],
)
def test_files_of_phones_that_are_left_out(tmp_path, changes, told):
    with pytest.raises(UnusableError, match=told):
        read_aligned(written(tmp_path, **changes))


def test_what_espeak_says_is_words_with_marks():
    names = ("h", "oU", "_:", "_", "aI", "_!", "w", "3:")
    utterance = Utterance(np.zeros(1), 1, tuple((0.1, n) for n in names), (1, 1, 1, 1, 2, 2, 4, 4), {1: ", ", 3: "- "})
    assert words_of(utterance) == [(["h", "oU"], ","), (["aI"], ","), (["w", "3:"], ".")]


@pytest.mark.parametrize(
    ("text", "language", "marks"),
    [
        ("Hello, Dr. Smith. Is it 3rd?", "en", [",", "", ".", "", "", "?"]),
        ("こんにちは、せかい。げんきですか？", "ja", [",", ".", "?"]),
        ("no mark at all", "en", ["", "", "", "."]),
    ],
)
def test_marks_of_a_text(text, language, marks):
    found = spoken(text, language)
    assert found[0].mark == "^" and [t.mark for t in found[1:] if t.boundary] == marks
    assert all(t.name == PAUSE for t in found if t.boundary) and any(t.stress == 1 for t in found)


def test_sentences_of_a_text():
    text = 'It costs $3.50, Mr. Fox! "Why?" she asked. On Jan. 3rd J. Smith, e.g. paid... so there. End\n\nnew'
    assert list(sentences(text, "en-us")) == [
        "It costs $3.50, Mr Fox!",
        '"Why?" she asked.',
        "On Jan 3rd J. Smith, e.g. paid... so there.",
        "End",
        "new",
    ]
    assert list(sentences("せかい。「げんき？」はい", "ja")) == ["せかい。", "「げんき？」", "はい"]
    assert list(sentences(" \n ", "en-us")) == []
    long = list(sentences("word " * 200, "en-us"))
    assert len(long) > 1 and max(map(len, long)) <= LONGEST and " ".join(long).split() == ["word"] * 200


def test_texts_are_held_out_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    corpus_folder = tmp_path / "corpus"
    for speaker in ("ann", "bob"):
        for i in range(12):
            written(corpus_folder / speaker, f"{i}", f"Text number {i}{'!' if speaker == 'ann' else '.'}")
    written(corpus_folder / "bob", "long", "Another.", seconds=99.0)
    written(corpus_folder / "bob", "other", "Another.", seconds=1.4)
    corpus = read_corpus("speech.folder", str(corpus_folder), FrameSettings(), True, 0.3, 20.0)
    sides = [{normalised(r.aligned.text) for r in side} for side in (corpus.train, corpus.validation)]
    assert sides[1] and not sides[0] & sides[1] and len(sides[0] | sides[1]) == 12
    assert len(corpus.train) + len(corpus.validation) == 24 and corpus.speakers == ["ann", "bob"]
    assert sides[1] == held_out([*sides[0], *sides[1]], 0.3)
    assert corpus.skipped == [
        "bob/long.wav lasts 99.0 s, longer than 20 s",
        "bob/other.wav lasts 0.40 s, its phones 1.40 s",
    ]
    (count,) = {r.count for r in corpus.train}
    assert count == 40 == len(corpus.train[0].frames()) and "held out with their" in corpus.describe()


def test_one_side_keeps_what_it_has_as_others_come():
    keys = [f"text {i}" for i in range(200)]
    few, many = held_out(keys[:100], 0.2), held_out(keys, 0.2)
    assert few == many & set(keys[:100]) and 20 < len(many) < 60
    assert len(held_out(["a", "b"], 1e-9)) == 1 == len(held_out(["a", "b"], 1 - 1e-9))


def test_texts_that_are_said_alike_are_one():
    assert normalised("Login incorrect.  Please") == normalised("login INCORRECT — please!") != normalised("Login")
    assert normalised("せかい。") == normalised(" せかい") and normalised("ｶﾅ") == normalised("カナ")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "has 0 usable recordings of 0, with 0 texts; expected at least two texts"),
        (["Same.", "same"], "has 2 usable recordings of 2, with 1 texts; expected at least two texts"),
    ],
)
def test_folders_that_are_no_corpus(tmp_path, monkeypatch, texts, told):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    for i, text in enumerate(texts):
        written(tmp_path / "corpus", f"{i}", text)
    (tmp_path / "corpus").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=told):
        read_corpus("speech.folder", str(tmp_path / "corpus"), FrameSettings(), False, 0.1, 20.0)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"speech\.folder = 'none' does not exist; expected a folder of recordings"):
        read_corpus("speech.folder", "none", FrameSettings(), False, 0.1, 20.0)
