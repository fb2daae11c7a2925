"""A tiny corpus of two languages by eSpeak NG, and a run that learned it for a few updates."""

from pathlib import Path

from lstm.config import PRESETS
from lstm.train import train_here
from trainkit.config import to_yaml
from trainkit.run_record import record_start
from trainkit.runs import create_run
from trainkit.speech.made_speech import make

TINY = ("model.hidden=12", "model.embedding=8", "training.batch=3", "training.warmup_steps=0", "speech.frames.bands=20",
        "training.report_every_steps=5", "speech.validation_fraction=0.3")  # fmt: skip


def corpus(folder: Path) -> Path:
    """Eight sentences: folders en-f1 and ja-f1."""
    make(folder, ["en", "ja"], ["f1"], 4, 16_000, None, lambda text: None)
    return folder


def settings(folder: Path, *words: str):
    return PRESETS.load("speech", [f"speech.folder={folder}", *TINY, *words]).config


def trained(folder: Path, *words: str) -> Path:
    """The folder of a run, below the current one."""
    config = settings(folder, *words)
    run = create_run("runs", config.name, to_yaml(config))
    record_start(run, "apex-lstm")
    train_here(config, run)
    return run
