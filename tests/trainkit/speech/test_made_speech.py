"""`apex-wavenet data speech`: what it refuses, and what it leaves out. test_phones.py has what it makes."""

import json

import pytest

from trainkit.errors import UserError
from trainkit.speech.espeak import synthesize
from wavenet.cli import main


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made"


def speech(folder, *words):
    return main(["data", "speech", "--out", str(folder), *words])


@pytest.mark.parametrize(
    ("voice", "told"),
    [
        ("zz", "voice 'zz' is unknown to eSpeak NG; expected f1 to f5, m1 to m8"),
        ("whispr", "Did you mean 'whisper'?"),
        ("F1", "Did you mean 'f1'?"),
        ("../!v/f1", "voice '../!v/f1' is unknown"),
    ],
)
def test_a_voice_that_espeak_lacks_is_named_before_anything_is_made(folder, capsys, voice, told):
    assert speech(folder, "--voice", f"f1,{voice}", "--sentences", "2") == 2
    assert told in capsys.readouterr().err and not folder.exists()


def test_a_language_that_is_unknown_is_named_before_anything_is_made(folder, capsys):
    assert speech(folder, "--language", "en,jp", "--sentences", "1") == 2
    assert "--language 'jp': expected one of en, ja. Did you mean 'ja'?" in capsys.readouterr().err
    assert not folder.exists()


def test_voices_by_name():
    for voice in ("f5", "m8", "whisper", "Mr serious"):
        assert synthesize("Hello.", "en-us", voice).seconds > 0.1
    with pytest.raises(UserError, match="voice 'm9' is unknown"):
        synthesize("Hello.", "en-us", "m9")


def test_lines_with_nothing_to_say_are_left_out(folder, tmp_path, capsys):
    text = tmp_path / "text"
    # With the mark that editors on Windows begin a file with.
    text.write_text("One.\n---\n\nTwo.\n...\nThree.\nFour.\n", encoding="utf-8-sig")
    assert speech(folder, "--text", str(text), "--voice", "f1,m1", "--sentences", "3") == 0
    out = capsys.readouterr().out
    assert "skipped: eSpeak NG can say nothing of '---'" in out and "can say nothing of '...'" in out
    assert "en: 3 sentences" in out
    made = {str(p.relative_to(folder)): json.loads(p.read_text())["text"] for p in folder.rglob("*.json")}
    assert made == {"en-f1/0000.json": "One.", "en-m1/0001.json": "Two.", "en-f1/0002.json": "Three."}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"---\n...\n", "none of its lines can be said in 'en'"),
        (b"\xef\xbb\xbf\n", "is empty; expected a sentence a line"),
        ("Un café.\n".encode("latin-1"), "can't be read as UTF-8"),
        (None, "can't be read: No such file"),
    ],
)
def test_a_file_without_a_sentence_is_named(folder, tmp_path, capsys, content, told):
    text = tmp_path / "text"
    if content is not None:
        text.write_bytes(content)
    assert speech(folder, "--text", str(text)) == 2
    error = capsys.readouterr().err
    assert f"--text {str(text)!r}" in error and told in error and not folder.exists()


@pytest.mark.parametrize("kind", ["speech", "piano"])
@pytest.mark.parametrize("rate", ["0", "-5", "999"])
def test_a_rate_that_is_too_low(folder, capsys, kind, rate):
    assert main(["data", kind, "--out", str(folder), "--sample-rate", rate]) == 2
    assert f"command line: --sample-rate {rate}: expected at least 1000" in capsys.readouterr().err
    assert not folder.exists()
