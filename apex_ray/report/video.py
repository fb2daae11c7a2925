"""Frames to an mp4 file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from apex_ray.types import AnyArray
from trainkit.errors import NotWrittenError, UserError

# The first that this build of av has: H.264 plays everywhere, MPEG-4 part 2 in most players.
ENCODERS: dict[str, dict[str, str]] = {"libx264": {"crf": "18", "preset": "veryfast"}, "mpeg4": {"qscale": "3"}}


def write_video(frames: Iterable[AnyArray], path: Path, fps: float) -> None:
    """Write RGB frames, uint8 [H, W, 3] all of one size, to `path` as mp4; it appears when it is whole.

    Frames are encoded one by one as they come, so a generator of a long episode needs little memory.

    Odd sizes get a row or column more, as H.264 takes even ones only. UserError for no frames and where av has no
    encoder, NotWrittenError for a path that can't be written; ValueError for frames of another form.
    """
    coming = iter(frames)
    first = next(coming, None)
    if first is None:
        raise UserError(f"no frames to write to {path}")
    encoder = _encoder()
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _encode(
                _checked(chain([first], coming), first.shape),
                first.shape,
                partial,
                Fraction(fps).limit_denominator(1000),
                encoder,
            )
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise NotWrittenError(f"can't write the video {path}: {error.strerror or error}") from None


def _encoder() -> str:
    for name in ENCODERS:
        if name in av.codecs_available:
            try:
                av.Codec(name, "w")
            except av.codec.codec.UnknownCodecError:  # this build only decodes it
                continue
            return name
    raise UserError(f"this build of av has none of the video encoders {', '.join(ENCODERS)}: reinstall av with pip")


def _checked(frames: Iterable[AnyArray], shape: tuple[int, ...]) -> Iterable[AnyArray]:
    """The same frames; ValueError at the first that is no RGB picture of the first one's size."""
    for i, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
            raise ValueError(f"frame {i} is {frame.dtype} {list(frame.shape)}, not uint8 {[*shape[:2], 3]}")
        yield frame


def _encode(frames: Iterable[AnyArray], shape: tuple[int, ...], path: Path, rate: Fraction, encoder: str) -> None:
    height, width = shape[:2]
    down, right = height % 2, width % 2
    with av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(encoder, rate=rate, options=ENCODERS[encoder])
        assert isinstance(stream, VideoStream)  # ENCODERS has nothing else
        stream.width, stream.height, stream.pix_fmt = width + right, height + down, "yuv420p"
        # The evaluator shares the machine with the actors: encoding takes one core, not all.
        stream.codec_context.thread_count = 1
        for frame in frames:
            padded = np.pad(frame, ((0, down), (0, right), (0, 0)), mode="edge")
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(padded.astype(np.uint8, copy=False), format="rgb24"))
            )
        container.mux(stream.encode())
