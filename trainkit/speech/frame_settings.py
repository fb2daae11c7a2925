"""What a frame of speech is: settings, which are read where the libraries of sound need not be."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from trainkit.section import Section


class FrameSettings(Section):
    """What a frame is. Two models understand each other where all of this is equal."""

    sample_rate: PositiveInt = Field(16_000, description="Hz; recordings are resampled to it")
    hop_samples: PositiveInt = Field(160, description="samples from one frame to the next: 10 ms at 16 kHz")
    window_samples: PositiveInt = Field(800, description="samples of a frame's spectrum, under a Hann window")
    bands: PositiveInt = Field(80, description="bands of the mel spectrum (Slaney's scale, triangles of equal area)")
    lowest_hz: float = Field(0.0, ge=0, description="where the lowest band begins")
    highest_hz: PositiveFloat = Field(8_000.0, description="where the highest band ends")
    log_base: Literal["e", "10"] = Field("e", description="base of the logarithm of a band's magnitude")
    floor: PositiveFloat = Field(1e-4, description="least magnitude of a band: all that is below is silence")
    lowest_f0_hz: PositiveFloat = Field(65.0, description="of a voice")
    highest_f0_hz: PositiveFloat = Field(500.0, description="of a voice")

    @model_validator(mode="after")
    def _fits_together(self) -> FrameSettings:
        half = self.sample_rate / 2
        if not self.lowest_hz < self.highest_hz <= half:
            raise ValueError(f"highest_hz {self.highest_hz:g} is not above lowest_hz and up to half the rate, {half:g}")
        if not self.lowest_f0_hz < self.highest_f0_hz < half:
            raise ValueError(f"highest_f0_hz {self.highest_f0_hz:g} is not above lowest_f0_hz and below {half:g}")
        if self.window_samples < self.hop_samples:
            raise ValueError(f"window_samples {self.window_samples} is shorter than hop_samples {self.hop_samples}")
        return self

    @property
    def frame_s(self) -> float:
        return self.hop_samples / self.sample_rate

    @property
    def quietest(self) -> float:
        """The number that silence is in a band."""
        return math.log(self.floor) if self.log_base == "e" else math.log10(self.floor)

    def frames(self, samples: int) -> int:
        """How many there are of so many samples."""
        return -(-samples // self.hop_samples)

    def describe(self) -> str:
        """What mel frames of another program must be, in one sentence."""
        log = "natural logarithms" if self.log_base == "e" else "logarithms to base 10"
        return (
            f"{self.bands} mel bands from {self.lowest_hz:g} to {self.highest_hz:g} Hz (Slaney's scale and norm: "
            f"librosa.filters.mel) of magnitudes, not powers, of sound of {self.sample_rate:,} Hz in [-1, 1]; a frame "
            f"every {self.hop_samples} samples, frame t around sample {self.hop_samples} (t + 0.5), of "
            f"{self.window_samples} samples under a Hann window; {log} of no less than {self.floor:g}, which is "
            f"{self.quietest:.2f}"
        )
