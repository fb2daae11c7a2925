from pathlib import Path

import av
import numpy as np
import pytest

from apex_ray.report import video
from apex_ray.report.video import write_video
from trainkit.errors import UserError


def frames(count: int, height: int = 210, width: int = 160) -> list[np.ndarray]:
    """Plain colours, a different one each."""
    return [np.full((height, width, 3), (20 * i, 100, 255 - 20 * i), np.uint8) for i in range(count)]


def read(path: Path) -> tuple[list[np.ndarray], float, str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        images = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        assert stream.average_rate is not None
        return images, float(stream.average_rate), stream.codec_context.name


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_what_is_written_can_be_read_again(tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "ENCODERS", {encoder: video.ENCODERS[encoder]})
    written = frames(12)
    write_video(written, tmp_path / "new" / "x.mp4", fps=15)
    images, fps, codec = read(tmp_path / "new" / "x.mp4")
    assert (len(images), fps, codec) == (12, 15, {"libx264": "h264"}.get(encoder, encoder))
    for image, frame in zip(images, written, strict=True):
        assert image.shape == (210, 160, 3)
        assert np.abs(image.astype(int) - frame).max() < 12
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.mp4"]


def test_odd_sizes_are_padded_with_their_edge(tmp_path: Path) -> None:
    write_video(frames(2, 33, 41), tmp_path / "x.mp4", fps=29.97)
    images, fps, _ = read(tmp_path / "x.mp4")
    assert images[0].shape == (34, 42, 3)
    assert np.abs(images[0][-1].astype(int) - (0, 100, 255)).max() < 12
    assert fps == pytest.approx(29.97, abs=0.01)


def test_users_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no frames to write to .*x\.mp4"):
        write_video([], tmp_path / "x.mp4", fps=15)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write the video .*y\.mp4"):
        write_video(frames(1), tmp_path / "file" / "y.mp4", fps=15)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match=r"can't write the video .*folder\.mp4"):
        write_video(frames(1), tmp_path / "folder.mp4", fps=15)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.mp4"], "no half-written file is left"


def test_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "ENCODERS", {"nonesuch": {}})
    with pytest.raises(UserError, match="nonesuch"):
        write_video(frames(1), tmp_path / "x.mp4", fps=15)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((210, 160, 3), np.float32), np.zeros((210, 160), np.uint8), np.zeros((208, 160, 3), np.uint8)],
    ids=["float", "gray", "another size"],
)
def test_frames_of_another_form_are_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="frame 1 is"):
        write_video([*frames(1), wrong], tmp_path / "x.mp4", fps=15)
