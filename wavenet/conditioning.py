"""What sound is conditioned on (WaveNet paper, section 2.5): a speaker for all of it, frames for each moment."""

from __future__ import annotations

from torch import Tensor, nn

from wavenet.config import ModelConfig


class Upsampling(nn.Module):
    """Frames at their own rate to one vector a sample, by transposed convolutions that are learned."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.local_channels
        self.first = nn.Conv1d(config.local_features, c, kernel_size=3, padding=1)
        # Each output sample is a mix of its own frame and the neighbour it is nearer to.
        self.stages = nn.ModuleList(
            nn.ConvTranspose1d(c, c, 2 * s, stride=s, padding=(s + 1) // 2, output_padding=s % 2)
            for s in config.upsampling
        )
        self.act = nn.LeakyReLU(0.4)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [B, N, features] -> [B, N * frame_samples, channels]."""
        x = self.first(frames.transpose(1, 2))
        for stage in self.stages:
            x = stage(self.act(x))
        result: Tensor = x.transpose(1, 2)
        return result


class Conditions(nn.Module):
    """Speaker and frames as one vector a sample, which every block adds to its gates."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.speakers:
            self.speaker = nn.Embedding(config.speakers, config.speaker_channels)
        if config.local_features:
            self.upsampling = Upsampling(config)

    def global_vector(self, speakers: Tensor) -> Tensor:
        """Speakers [B] (int64) -> [B, 1, channels]."""
        vector: Tensor = self.speaker(speakers)[:, None]
        return vector
