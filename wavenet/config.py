"""Settings of a run: the model, the sound it learns from, training, workers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from cluster.workers_config import WorkersConfig
from trainkit.config import Presets
from trainkit.mu_law import CLASSES
from trainkit.section import Section
from trainkit.speech.frame_settings import FrameSettings


class ModelConfig(Section):
    """The network. The paper's own sizes are not published; these are the ones in common use."""

    cycles: PositiveInt = Field(3, description="how often the dilations run from 1 to the largest")
    layers_per_cycle: PositiveInt = Field(10, description="dilations 1, 2, 4, ...: 10 end at 512")
    kernel: int = Field(2, ge=2, description="taps of each dilated convolution")
    input_kernel: PositiveInt = Field(2, description="taps of the causal convolution before the first block")
    residual: PositiveInt = Field(64, description="channels between blocks")
    skip: PositiveInt = Field(128, description="channels that blocks add up for the output")
    head: PositiveInt = Field(128, description="channels between the output's two 1x1 convolutions")
    output: Literal["softmax", "logistics"] = Field(
        "softmax", description="softmax over 256 mu-law classes, or a mixture of discretised logistics for 16 bits"
    )
    mixtures: PositiveInt = Field(10, description="logistics in the mixture")
    speakers: int = Field(0, ge=0, description="values of the global condition; 0: none")
    speaker_channels: PositiveInt = Field(16, description="size of a speaker's learned vector")
    local_features: int = Field(0, ge=0, description="features of a frame of the local condition; 0: none")
    local_channels: PositiveInt = Field(64, description="channels of the upsampled local condition")
    upsampling: tuple[PositiveInt, ...] = Field(
        (10, 16), description="strides of the learned upsampling; their product is a frame's length in samples"
    )

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each block."""
        return tuple(2**i for i in range(self.layers_per_cycle)) * self.cycles

    @property
    def receptive_field(self) -> int:
        """How many earlier samples a prediction depends on."""
        return self.input_kernel + (self.kernel - 1) * sum(self.dilations)

    @property
    def frame_samples(self) -> int:
        """Samples that one frame of the local condition stands for."""
        length = 1
        for stride in self.upsampling:
            length *= stride
        return length

    @property
    def reach_frames(self) -> int:
        """How far from its own frame, at most, what a sample is told of lies."""
        return 1 + len(self.upsampling)  # each convolution of the upsampling looks at a neighbour

    @property
    def context_frames(self) -> int:
        """Frames that hold the receptive field."""
        return -(-self.receptive_field // self.frame_samples)

    @property
    def outputs(self) -> int:
        """Numbers that the network says about a sample."""
        return CLASSES if self.output == "softmax" else 3 * self.mixtures


FRAMED = ("phones+f0", "frames")  # conditions for which a recording has frames
PHONETIC = ("phones", "phones+f0")  # conditions for which it has phones


class DataConfig(Section):
    """A folder of sound: anything that soundfile or librosa reads, in any depth of folders."""

    folder: str = Field(description="where the recordings are")
    sample_rate: PositiveInt = Field(16_000, description="Hz; recordings are resampled to it")
    trim_db: PositiveFloat | None = Field(
        40.0, description="silence at both ends, this far below the loudest, is cut off; null: nothing is"
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="part that is held out: of the texts, or of the files if recordings have no text"
    )
    speakers: Literal["none", "folder"] = Field(
        "none", description="folder: the folder that a file lies in is its speaker, as in VCTK"
    )
    conditions: Literal["none", "phones", "phones+f0", "frames", "notes", "mel"] = Field(
        "none",
        description="phones: NAME.json beside each recording says which phone is when; phones+f0: and the sound says "
        "its own log F0 and voicing; frames: the sound says its own mel spectrum, log F0 and voicing, for a vocoder; "
        "notes: NAME.json or NAME.mid says which note is when (nothing is trimmed for any of these); mel: the mel "
        "spectrum alone",
    )
    mels: PositiveInt = Field(80, description="bands of conditions=mel")
    frames: FrameSettings = FrameSettings()
    said_frames: str | None = Field(
        None,
        description="folder of an acoustic model's frames of the same recordings (apex-lstm frames), which take the "
        "place of the sound's own from training.said_frames_after on",
    )


class TrainingConfig(Section):
    """Optimisation, shared out over the workers."""

    steps: PositiveInt = Field(20_000, description="updates of the weights")
    batch: PositiveInt = Field(8, description="crops in an update, of all workers together")
    segment_samples: PositiveInt = Field(8_192, description="samples of a crop that are predicted, after its context")
    accumulate: PositiveInt = Field(1, description="parts in which a worker's crops are computed, to save memory")
    init_from: str | None = Field(None, description="the run whose weights it begins with, as train --from sets it")
    learning_rate: PositiveFloat = Field(1.0e-3, description="Adam's, after the warm-up")
    warmup_steps: int = Field(200, ge=0, description="steps over which the learning rate rises from 0")
    final_learning_rate: float = Field(
        0.05, ge=0, le=1, description="last learning rate, as a part of the first; it falls along half a cosine"
    )
    grad_clip: PositiveFloat = Field(1.0, description="largest norm of the gradient")
    ema: float = Field(
        0.999, ge=0, lt=1, description="decay of the moving average of the weights, which evaluation and generation use"
    )
    said_frames_after: float = Field(
        0.8, ge=0, le=1, description="part of the updates after which training and validation use data.said_frames"
    )
    bf16: bool = Field(False, description="multiply in bfloat16 (GPUs; on CPUs measured slower)")
    validate_every_steps: PositiveInt = Field(1_000, description="steps between validations, each with a checkpoint")
    report_every_steps: PositiveInt = Field(50, description="steps between rows of metrics")
    excerpt_s: float = Field(2.0, ge=0, description="seconds of sound generated at each validation, for TensorBoard")


class WaveNetConfig(Section):
    """A whole run."""

    name: str = Field("wavenet", description="name of the run, with which its folder's name begins")
    seed: int = Field(1, ge=0, description="seed of weights, batches and draws")
    runs_dir: str = Field("runs", description="folder for run folders")
    model: ModelConfig = ModelConfig()
    data: DataConfig
    training: TrainingConfig = TrainingConfig()
    workers: WorkersConfig = WorkersConfig()

    @model_validator(mode="after")
    def _crops_for_all(self) -> WaveNetConfig:
        self.workers.refuse_too_few(self.training.batch, "crop")
        return self

    @model_validator(mode="after")
    def _known_frames(self) -> WaveNetConfig:
        if self.data.conditions != "none" and not self.model.upsampling:
            raise ValueError("model.upsampling is empty: a local condition needs a frame's length")
        return self

    @model_validator(mode="after")
    def _frames_of_the_sound(self) -> WaveNetConfig:
        frames, rate, hop = self.data.frames, self.data.sample_rate, self.model.frame_samples
        if self.data.conditions in FRAMED and (frames.sample_rate, frames.hop_samples) != (rate, hop):
            raise ValueError(
                f"data.frames.sample_rate {frames.sample_rate} and hop_samples {frames.hop_samples} are not "
                f"data.sample_rate {rate} and the product of model.upsampling, {hop}"
            )
        if self.data.said_frames is not None and self.data.conditions not in FRAMED:
            raise ValueError(
                f"data.said_frames takes no part in data.conditions={self.data.conditions}; expected "
                f"{' or '.join(FRAMED)}"
            )
        return self

    @model_validator(mode="after")
    def _whole_frames(self) -> WaveNetConfig:
        frame, segment = self.model.frame_samples, self.training.segment_samples
        if self.data.conditions != "none" and segment % frame:
            raise ValueError(
                f"training.segment_samples {segment} is no whole number of frames of {frame} samples (the product of "
                f"model.upsampling); the nearest is {max(round(segment / frame), 1) * frame}"
            )
        return self


PRESETS = Presets(WaveNetConfig, Path(__file__).parent / "presets", "apex-wavenet")
