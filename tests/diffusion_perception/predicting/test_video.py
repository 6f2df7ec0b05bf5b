"""Video in and out: frames in time and the right way up, steady drawings, exports, and what cannot be read."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image
from test_predictor import scene

from diffusion_perception import Predictor
from diffusion_perception.predicting import command as prediction
from diffusion_perception.predicting.picture_files import is_video, pictures_of
from diffusion_perception.predicting.video_files import Frame, VideoFacts, VideoWriter, frames, look
from jobs import predict, program
from shards.errors import ConfigError, Reject

Models = Callable[[str], str]
UNEVEN = (0, 3000, 6000, 15000, 27000, 30000)  # of 90000 a second
FACTS = VideoFacts(0, 0, 0, Fraction(30), Fraction(1, 90000), Fraction(1))


def clip(path: Path, pictures: Sequence[np.ndarray], times: Sequence[int] = UNEVEN, like: VideoFacts = FACTS) -> Path:
    with VideoWriter(path, like) as video:
        for picture, time in zip(pictures, times, strict=False):
            video.add(picture, Fraction(time, 90000))
    return path


@pytest.fixture
def street(tmp_path: Path) -> Path:
    return clip(tmp_path / "street.mp4", [scene(60, 80, seed) for seed in range(6)])


def turned(path: Path, degrees: int, **flips: bool) -> np.ndarray:
    """The first frame of a video of 48 x 64, red at its upper left, with a display matrix."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees, **flips)
        pixels = np.zeros((48, 64, 3), np.uint8)
        pixels[:24, :32] = [255, 0, 0]
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(pixels)), *stream.encode()]:
            file.mux(packet)
    return next(frames(path)).pixels


def test_frames_come_back_at_their_times_and_in_their_colours(tmp_path: Path) -> None:
    pictures = [np.full((49, 63, 3), level, np.uint8) for level in ([250, 10, 10], [10, 240, 20], [20, 30, 250])]
    found = list(frames(clip(tmp_path / "a.mp4", pictures, (900, 1800, 9000))))
    assert [frame.time_s for frame in found] == [0, Fraction(1, 100), Fraction(9, 100)]
    for frame, picture in zip(found, pictures, strict=True):
        assert frame.pixels.shape == (50, 64, 3), "H.264 has even sides"
        assert np.abs(frame.pixels[:49, :63].astype(int) - picture).max() < 6
    with av.open(str(tmp_path / "a.mp4")) as file:
        (stream,) = file.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.duration == 16200 - 900, "the last frame is shown as long as the one before"
    assert look(str(tmp_path / "a.mp4")).about_frames == 3


@pytest.mark.parametrize(
    ("degrees", "flips", "corner"),
    [(0, {}, (0, 0)), (90, {}, (1, 0)), (-90, {}, (0, 1)), (180, {}, (1, 1)), (0, {"hflip": True}, (0, 1)),
     (0, {"vflip": True}, (1, 0))],
)  # fmt: skip
def test_frames_stand_as_the_file_asks_for(
    degrees: int, flips: dict[str, bool], corner: tuple[int, int], tmp_path: Path
) -> None:
    pixels = turned(tmp_path / "turned.mp4", degrees, **flips)
    assert pixels.shape[:2] == ((64, 48) if abs(degrees) == 90 else (48, 64))
    height, width = pixels.shape[:2]
    red = pixels[8 : height : height - 17, 8 : width : width - 17, 0] > 200  # [2, 2]
    assert [tuple(map(int, place)) for place in np.argwhere(red)] == [corner]


def test_a_part_is_in_seconds_and_frames_keep_their_numbers(street: Path) -> None:
    def numbers(*part: Any) -> list[int]:
        return [frame.number for frame in frames(street, *part)]

    assert numbers() == [0, 1, 2, 3, 4, 5]
    assert numbers(0.05, 0.31) == [2, 3, 4]
    assert numbers(0.0, 0.0, 4) == [0, 4]
    assert numbers(9.0) == []
    assert [frame.number for frame in frames(f"file://{street}")] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match="video: start_s 2, end_s 1, every 1; expected a start of 0 or more"):
        numbers(2.0, 1.0)


@pytest.mark.parametrize("left_out", [0.01, 0.3])
def test_a_file_that_was_cut_off_is_not_a_shorter_video(street: Path, left_out: float) -> None:
    data = street.read_bytes()
    street.write_bytes(data[: int(len(data) * (1 - left_out))])
    assert look(str(street)).about_frames == 6
    with pytest.raises(Reject, match=r"the file ends after \d of 6 frames; video.end_s=SECONDS predicts what comes"):
        list(frames(street))


class Unseekable(io.BytesIO):
    def seek(self, offset: int, whence: int = 0) -> int:
        raise ValueError("cannot seek")


class Lost(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise RuntimeError("connection lost")


@pytest.mark.parametrize(("file", "reason"), [(Unseekable, "cannot seek"), (Lost, "connection lost")])
def test_what_a_file_system_says_of_a_url_is_about_that_video(
    file: type[io.BytesIO], reason: str, street: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = street.read_bytes()
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda *_, **__: file(data))
    with pytest.raises(Reject, match=rf"video memory://street.mp4.*{reason}"):
        list(frames("memory://street.mp4"))


def test_from_python_a_video_is_an_iterator_of_frames(model_folder: Models, street: Path) -> None:
    predictor = Predictor(model_folder("depth"), device="cpu")
    found = list(predictor.video(street, every=3))
    assert [one.picture.number for one in found if isinstance(one.picture, Frame)] == [0, 3]
    second = list(frames(street))[3].pixels
    assert np.abs(predictor(second)[0] - found[1].answers[0]).max() < 1e-4
    with pytest.raises(ConfigError, match="every 0"):
        predictor.video(street, every=0)


def test_a_video_is_predicted_drawn_and_exported(
    model_folder: Models, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [f"run={model_folder('depth')}", f"images={street}", f"into={tmp_path}/out", "exports=[.png, .npy]"]
    words += ["video.every=2", "memory_gb=1"]
    assert program.status("jobs.predict", words) == 0
    said = capsys.readouterr().out
    assert "street.mp4: about 6 frames of 80 x 60 pixels, from the first" in said
    assert "street.mp4: 3 frames" in said
    names = sorted(path.name for path in (tmp_path / "out" / "street-frames").iterdir())
    assert names == ["000000.npy", "000000.png", "000002.npy", "000002.png", "000004.npy", "000004.png"]
    drawn = list(frames(tmp_path / "out" / "street-drawn.mp4"))
    assert [frame.time_s for frame in drawn] == [0, Fraction(6000, 90000), Fraction(27000, 90000)]
    assert drawn[0].pixels.shape[1] == 80
    assert drawn[0].pixels.shape[0] > 60, "with its legend"
    depth_m = np.load(tmp_path / "out" / "street-frames" / "000002.npy")
    assert depth_m.shape == (60, 80)
    entry = json.loads((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[1])
    assert len(entry["outputs"]) == 7
    assert program.status("jobs.predict", words) == 0
    assert "1 pictures, 1 of them finished before" in capsys.readouterr().out
    assert program.status("jobs.predict", [*words, "video.every=3"]) == 1
    assert "holds predictions of other settings (video: {'start_s'" in capsys.readouterr().err


def test_the_colours_of_a_video_are_chosen_once(model_folder: Models, tmp_path: Path) -> None:
    """The task's range for depth; for masks the colour of the first frame in which something is found."""
    from diffusion_perception.blueprints import task_of
    from vpd.drawing.contrast import STRONG
    from vpd.drawing.style import Style
    from vpd.exchange.pretrained import read_blueprint

    depth, refer = (task_of(read_blueprint(model_folder(task))) for task in ("depth", "refer"))
    near, far = np.full((1, 4, 4), 1.0), np.full((1, 4, 4), 9.0)
    image = scene(20, 20)
    style = depth.steady(image, near, Style())
    assert depth.steady(image, far, style) == style
    assert depth.draw(image, near, style)[0, 0].tolist() != depth.draw(image, far, style)[0, 0].tolist()
    assert depth.draw(image, near)[0, 0].tolist() == depth.draw(image, far)[0, 0].tolist(), "alone, each spans the map"
    assert depth.legend(image, far, style).ends == ("0.00 m", "10.00 m")
    assert depth.steady(image, far, Style(near_m=2, far_m=4)).far_m == 4
    red, blue = np.zeros((2, 20, 20, 3), np.uint8)
    red[...], blue[...] = (255, 30, 30), (40, 80, 255)
    mask = np.ones((20, 20), bool)
    style = refer.steady(red, ~mask, Style())
    assert style.colour is None
    style = refer.steady(red, mask, style)
    assert style.colour in STRONG[1:]
    assert refer.steady(blue, mask, style) == style


@pytest.mark.parametrize("spoilt", ["no video", "no stream", "cut"])
def test_what_cannot_be_read_is_named_before_a_model_is_loaded(
    spoilt: str,
    model_folder: Models,
    street: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(prediction, "predictor_of", None)
    bad = tmp_path / "bad.mp4"
    if spoilt == "no stream":
        with av.open(str(bad), "w") as file:
            sound: Any = file.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate = 16000
            for packet in [*sound.encode(frame), *sound.encode()]:
                file.mux(packet)
    else:
        data = street.read_bytes()
        bad.write_bytes(b"nothing" if spoilt == "no video" else data[: len(data) // 3])
    assert program.status("jobs.predict", [f"run={model_folder('depth')}", f"images={bad}", f"into={tmp_path}/o"]) == 1
    said = capsys.readouterr()
    reasons = {"no video": "cannot be read", "no stream": "no video stream in it (streams: audio)", "cut": "frame 0"}
    assert reasons[spoilt] in said.out
    assert f"Reject: 1 of 1 pictures could not be predicted: {bad}" in said.err


def test_a_video_that_breaks_off_leaves_no_half_of_it(
    model_folder: Models, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from diffusion_perception.predicting import predictor

    def broken(*given: Any) -> Any:
        yield from list(frames(*given))[:5]
        raise Reject("frame 5 cannot be decoded")

    monkeypatch.setattr(predictor, "frames", broken)
    photo = tmp_path / "a.png"
    Image.fromarray(scene(40, 50)).save(photo)
    words = [f"run={model_folder('depth')}", f"images=[{street}, {photo}]", f"into={tmp_path}/out"]
    assert program.status("jobs.predict", words) == 1
    assert "not predicted: frame 5 cannot be decoded" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-drawn.png", "predictions.jsonl"]


def test_frames_before_the_end_of_a_broken_video_come_out(
    model_folder: Models, street: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusion_perception.predicting import predictor

    def broken(*given: Any) -> Any:
        yield from list(frames(*given))[:5]
        raise Reject("frame 5 cannot be decoded")

    whole = predictor.Predictor(model_folder("depth"))
    expected = list(whole.video(street, batch_size=4))[:5]
    monkeypatch.setattr(predictor, "frames", broken)
    found: list[Any] = []
    stream = whole.video(street, batch_size=4)
    with pytest.raises(Reject, match="frame 5 cannot be decoded"):
        found.extend(iter(lambda: next(stream), None))
    assert [one.picture.number for one in found] == [0, 1, 2, 3, 4]
    assert all(np.allclose(a.answers, b.answers, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_without_the_extra_a_video_names_it(
    model_folder: Models, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    words = [f"run={model_folder('depth')}", f"images={street}", f"into={tmp_path}/out"]
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-perception\[video\]'"):
        predict.run(words)
    with pytest.raises(ConfigError, match=r"is a video; images=.*street.mp4 predicts its frames"):
        predict.run([f"run={model_folder('depth')}", f"image={street}"])


def test_videos_are_meant_where_they_are_named(street: Path) -> None:
    folder = street.parent
    Image.fromarray(scene(20, 30)).save(folder / "a.png")

    def named(*images: str) -> list[str]:
        return [one.name for one in pictures_of([image.replace("HERE", str(folder)) for image in images])]

    assert named("HERE") == ["a.png"] == named("HERE/*") == named("file://HERE")
    assert named("HERE/street.mp4") == ["street.mp4"] == named("HERE/*.mp4") == named("file://HERE/*.mp4")
    assert named("file://HERE/street.mp4") == ["street.mp4"] == named("HERE/stree?.mp4")
    assert is_video("https://host/a.mp4?key=b.png")
    assert not is_video("https://host/a.png?key=b.mp4")
    assert is_video("/clips/what?.mp4"), "a file's name"
