"""Which words have no place where: games with stages are a plug-in, and the rest of apex_ray knows nothing of them."""

import re
from pathlib import Path

import apex_ray

ROOT = Path(apex_ray.__file__).parent
PRESETS = ("airstriker.yaml", "sonic.yaml", "sonic_contest.yaml")
THEIRS = [ROOT / "retro", *(ROOT / "config" / "presets" / name for name in PRESETS)]
WORDS = "stage|staged|sonic|retro|bk2|cartridge"
# Words by themselves or between underscores, and within names such as StageRow.
FORBIDDEN = re.compile(
    rf"(?<![A-Za-z])(?i:(?:{WORDS})s?)(?![A-Za-z])|(?:{'|'.join(w.title() for w in WORDS.split('|'))})(?=s?[A-Z])"
)


def found_in(text):
    return [(number, m[0]) for number, line in enumerate(text.splitlines(), 1) for m in FORBIDDEN.finditer(line)]


def test_the_search_finds_plugin_words_and_no_ordinary_ones():
    yes = "stages Sonic stable-retro x.bk2 RetroEnvs StageRow check_stages _cartridge STAGES_EVERY_S"
    assert len(found_in(yes.replace(" ", "\n"))) == 9
    assert found_in("storage retrospect backstage supersonics Stagecoach stagehand") == []


def test_the_core_has_no_word_of_the_plug_in():
    files = [p for p in sorted(ROOT.rglob("*")) if p.is_file() and p.suffix in (".py", ".yaml", ".csv", ".json", ".md")]
    core = [p for p in files if not any(p.is_relative_to(theirs) for theirs in THEIRS)]
    wrong = [
        f"{p.relative_to(ROOT.parent)}:{number}: {word!r}" for p in core for number, word in found_in(p.read_text())
    ]
    assert len(core) > 80, "the files were not found"
    assert not wrong, "\n".join(wrong)
