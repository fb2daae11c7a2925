"""Settings of a run: the network, one task and its data, training, workers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import available_timezones

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from cluster.workers_config import WorkersConfig
from trainkit.config import Presets
from trainkit.errors import did_you_mean
from trainkit.section import Section
from trainkit.speech.frame_settings import FrameSettings

UNIX = ("unix_s", "unix_ms", "unix_us", "unix_ns")  # forecast.time_format of numbers since 1970


class ModelConfig(Section):
    """The network: layers of cells between the task's inputs and a linear readout."""

    cell: Literal["lstm", "rnn"] = Field("lstm", description="lstm, or rnn: a plain recurrent cell, to compare with")
    hidden: PositiveInt = Field(128, description="units of a layer")
    layers: PositiveInt = Field(1, description="layers of cells")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability of dropout between layers and before the readout")
    projection: int = Field(0, ge=0, description="size to which an LSTM's output is projected; 0: no projection")
    embedding: PositiveInt = Field(64, description="size of a character's or sample's learned vector")
    forget_bias: float = Field(1.0, description="initial bias of the forget gate")
    chrono_steps: int = Field(
        0, ge=0, description="memories begin with lengths up to this many steps (chrono initialisation); 0: forget_bias"
    )
    layer_norm: bool = Field(False, description="normalise before the gates; runs step by step")
    peepholes: bool = Field(False, description="gates see the memory; runs step by step")
    nonlinearity: Literal["tanh", "relu"] = Field("tanh", description="nonlinearity of the plain cell")
    implementation: Literal["auto", "fused", "written"] = Field(
        "auto", description="fused: torch's kernels; written: our cells, step by step; auto: fused where possible"
    )

    @property
    def runs_fused(self) -> bool:
        return self.implementation == "fused" or (
            self.implementation == "auto" and not (self.layer_norm or self.peepholes)
        )

    @model_validator(mode="after")
    def _fits_together(self) -> ModelConfig:
        only_written = [name for name in ("layer_norm", "peepholes") if getattr(self, name)]
        if self.implementation == "fused" and only_written:
            raise ValueError(f"implementation fused has no {only_written[0]}; expected auto or written")
        if self.cell == "rnn" and (only_written or self.projection):
            raise ValueError(f"cell rnn has no {(only_written or ['projection'])[0]}; expected cell lstm")
        if self.projection >= self.hidden:
            raise ValueError(f"projection {self.projection} is not below hidden {self.hidden}")
        return self


class AddingConfig(Section):
    """Two numbers of a long row are marked: what is their sum? (Hochreiter & Schmidhuber 1997, experiment 4.)"""

    steps: int = Field(100, ge=4, description="least length of a row")
    spread: float = Field(
        0.0, ge=0, description="rows are longer by up to this part of the length, each by its own; they are packed"
    )
    validation_rows: PositiveInt = Field(512, description="rows that are held out, to choose the weights by")


class CopyConfig(Section):
    """Symbols, a long wait, a signal: say the symbols again (Arjovsky et al. 2016, section 4.1)."""

    steps: PositiveInt = Field(100, description="steps to wait")
    symbols: PositiveInt = Field(10, description="symbols to remember")
    alphabet: int = Field(8, ge=2, description="number of different symbols")
    validation_rows: PositiveInt = Field(256, description="rows that are held out, to choose the weights by")


class TextConfig(Section):
    """A language model of characters or bytes."""

    path: str = Field(description="a text file, or a folder of .txt files")
    level: Literal["characters", "bytes"] = Field(
        "characters", description="whether a step is a character or a byte; bytes need no vocabulary and no encoding"
    )
    encoding: str = Field("utf-8", description="encoding of the files, for characters")
    chunk: PositiveInt = Field(
        64, description="steps that gradients go back; the state is carried on to the next chunk"
    )
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="part of the text, at its end, that is held out")


class AudioConfig(Section):
    """The next mu-law sample of sound."""

    folder: str = Field(description="recordings: anything that soundfile reads, in any depth of folders")
    sample_rate: PositiveInt = Field(8_000, description="Hz; recordings are resampled to it")
    chunk: PositiveInt = Field(256, description="samples that gradients go back; the state is carried on")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="part of the sound, at its end, that is held out")


class ForecastConfig(Section):
    """The next steps of series, as quantiles."""

    path: str = Field(
        description=".csv or .parquet: a row for each time, and a column for each series or one that names the series"
    )
    time: str = Field("date", description="the column of times")
    targets: tuple[str, ...] = Field((), description="columns to forecast; none: all numbers that are not covariates")
    series: str | None = Field(None, description="a column that names the series a row belongs to (long format)")
    past_covariates: tuple[str, ...] = Field((), description="columns that are known up to now only")
    future_covariates: tuple[str, ...] = Field((), description="columns that are known for the horizon too")
    calendar: bool = Field(True, description="month, weekday and hour as inputs, if the steps are fine enough")
    steps: Literal["calendar", "rows"] = Field(
        "calendar", description="calendar: times are regular, a missing row is a gap; rows: each row is a step (prices)"
    )
    frequency: str | None = Field(None, description="pandas' name, such as MS, W or h; null: found from the times")
    time_format: str | None = Field(
        None,
        description="strptime's, such as %d/%m/%Y, or unix_s, unix_ms, unix_us, unix_ns; null: found",
    )
    time_zone: str | None = Field(
        None,
        description="zone of times without one, such as Europe/Berlin; times with another zone are converted",
    )
    transform: Literal["none", "log"] = Field("none", description="log: changes count relative to the level")
    encoding: str = Field("utf-8", description="encoding of a CSV")
    horizon: PositiveInt = Field(12, description="steps to forecast")
    context: int = Field(48, ge=2, description="steps before the horizon that the network sees")
    season: PositiveInt | None = Field(
        None, description="steps after which the pattern repeats; null: from the frequency"
    )
    start: Literal["auto", "last", "season", "drift", "theta", "ar"] = Field(
        "season",
        description="simple forecast whose errors are learned; auto: the one with the smallest error on validation",
    )
    seasons: PositiveInt = Field(1, description="seasons of which the start `season` is the mean; 1: the last one")
    quantiles: tuple[float, ...] = Field(
        (0.1, 0.5, 0.9), description="quantiles of the forecast; 0.5 must be among them"
    )
    validation: PositiveInt = Field(24, description="steps of each series before the test, to choose the weights by")
    test: int = Field(24, ge=0, description="steps at each series' end that only the backtest sees")
    windows: PositiveInt = Field(64, description="most windows of each series in a validation")

    @model_validator(mode="after")
    def _known_times(self) -> ForecastConfig:
        if self.time_format is not None and "%" not in self.time_format and self.time_format not in UNIX:
            raise ValueError(
                f"time_format {self.time_format!r} is none; expected such as %d/%m/%Y, or one of {', '.join(UNIX)}."
                f"{did_you_mean(self.time_format, UNIX)}"
            )
        if self.time_zone is not None and self.time_zone not in (zones := available_timezones()):
            raise ValueError(f"time_zone {self.time_zone!r} is unknown.{did_you_mean(self.time_zone, zones)}")
        return self

    @model_validator(mode="after")
    def _known_quantiles(self) -> ForecastConfig:
        q = self.quantiles
        if 0.5 not in q or list(q) != sorted(set(q)) or not all(0 < x < 1 for x in q):
            raise ValueError(f"quantiles {list(q)} do not rise between 0 and 1 with 0.5 among them")
        if 0 < self.test < self.horizon:
            raise ValueError(
                f"test {self.test} is shorter than the horizon {self.horizon}; expected 0 or at least that"
            )
        if self.validation < self.horizon:
            raise ValueError(f"validation {self.validation} is shorter than the horizon {self.horizon}")
        return self


class SpeechConfig(Section):
    """From phones to durations and frames (mel, log F0, voicing): what a voice is to say, and when."""

    folder: str = Field(
        description="recordings with their phones beside them, as apex-wavenet data align and data speech write them"
    )
    frames: FrameSettings = FrameSettings()
    speakers: Literal["folder", "none"] = Field(
        "folder", description="folder: each folder of recordings is a speaker; none: they are not told apart"
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="part of the texts, all of whose recordings are held out"
    )
    longest_s: PositiveFloat = Field(30.0, description="recordings that last longer are left out")
    variance: float = Field(
        1.0,
        ge=0,
        le=1,
        description="how far frames are scaled to the corpus's variance when speaking; 0: not at all",
    )


class TrainingConfig(Section):
    """Optimisation, shared out over the workers."""

    steps: PositiveInt = Field(2_000, description="updates of the weights")
    stop_after_s: PositiveFloat | None = Field(
        None, description="end after so many seconds, with the learning rate falling by time; null: after `steps`"
    )
    batch: PositiveInt = Field(32, description="sequences in an update, of all workers together")
    learning_rate: PositiveFloat = Field(2.0e-3, description="Adam's, after the warm-up")
    warmup_steps: int = Field(50, ge=0, description="steps over which the learning rate rises from 0")
    final_learning_rate: float = Field(
        0.05, ge=0, le=1, description="last learning rate, as a part of the first; it falls along half a cosine"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of AdamW")
    grad_clip: PositiveFloat = Field(1.0, description="largest norm of the gradient")
    bf16: bool = Field(False, description="multiply in bfloat16 (GPUs; on CPUs measured slower)")
    validate_every_steps: PositiveInt = Field(200, description="steps between validations, each with a checkpoint")
    patience: PositiveInt | None = Field(
        None, description="stop when this many validations in a row were no better than the best; null: never"
    )
    report_every_steps: PositiveInt = Field(20, description="steps between rows of metrics")


TASKS = ("adding", "copying", "text", "audio", "forecast", "speech")
TaskConfig = AddingConfig | CopyConfig | TextConfig | AudioConfig | ForecastConfig | SpeechConfig


class LstmConfig(Section):
    """A whole run: exactly one of the tasks is set."""

    name: str = Field("lstm", description="name of the run, with which its folder's name begins")
    seed: int = Field(1, ge=0, description="seed of weights, batches and draws")
    runs_dir: str = Field("runs", description="folder for run folders")
    model: ModelConfig = ModelConfig()
    adding: AddingConfig | None = None
    copying: CopyConfig | None = None
    text: TextConfig | None = None
    audio: AudioConfig | None = None
    forecast: ForecastConfig | None = None
    speech: SpeechConfig | None = None
    training: TrainingConfig = TrainingConfig()
    workers: WorkersConfig = WorkersConfig()

    @model_validator(mode="after")
    def _rows_for_all(self) -> LstmConfig:
        self.workers.refuse_too_few(self.training.batch, "sequence")
        return self

    @model_validator(mode="after")
    def _one_task(self) -> LstmConfig:
        chosen = [name for name in TASKS if getattr(self, name) is not None]
        if len(chosen) != 1:
            raise ValueError(f"{' and '.join(chosen) or 'no task'} set; expected one of {', '.join(TASKS)}")
        return self

    @property
    def task(self) -> TaskConfig:
        """The one that is set."""
        found: TaskConfig = next(section for name in TASKS if (section := getattr(self, name)) is not None)
        return found


PRESETS = Presets(LstmConfig, Path(__file__).parent / "presets", "apex-lstm")
