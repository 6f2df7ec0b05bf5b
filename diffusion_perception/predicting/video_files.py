"""Video as frames in time, read and written by PyAV (the extra `video`).

Owns what a frame is (its number in the file, when it is shown, its pixels the right way up),
and how a video is written: H.264 in mp4, yuv420p with the levels of BT.709, every frame at the time it is given. Sound
is neither read nor written. What is predicted of frames is `diffusion_perception.predicting.predictor`'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_perception.predicting.picture_files import opened
from shards.errors import ConfigError, Reject

CODEC = "libx264"
CODEC_OPTIONS = {"crf": "18", "bf": "0"}  # hardly a visible difference; frames in order: the last keep their times
BT709, LIMITED = 1, 1  # FFmpeg's numbers for the primaries, curve and matrix of BT.709, and for levels 16 to 235
FALLBACK_RATE = Fraction(25)  # where a file does not say one


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        number: its place in the file, from 0, whatever part of it is read.
        time_s: when it is shown, from the file's first frame on.
        pixels: uint8 [H, W, 3], turned and mirrored as the file asks for.
    """

    number: int
    time_s: Fraction
    pixels: np.ndarray


@dataclass(frozen=True)
class VideoFacts:
    """What a file says about its video.

    Attributes:
        height_px, width_px: of a frame the right way up.
        about_frames: how many there are; 0 where the file does not say, and not always exact.
        rate: frames a second, their mean where it varies.
        time_base_s: the unit of its times.
        pixel_aspect: width of a pixel over its height.
    """

    height_px: int
    width_px: int
    about_frames: int
    rate: Fraction
    time_base_s: Fraction
    pixel_aspect: Fraction


def look(place: str) -> VideoFacts:
    """What there is to read; the first frame is decoded.

    Raises:
        ConfigError: PyAV is not installed.
        Reject: no video that can be read.
    """
    with _opened(place) as (container, stream):
        first = next(_decoded(container, stream, place), None)
        if first is None:
            raise Reject(f"video {place}: no frame in it")
        pixels = _upright(first)
        rate = stream.average_rate or stream.guessed_rate or FALLBACK_RATE
        seconds = float(stream.duration * stream.time_base) if stream.duration else float(container.duration or 0) / 1e6
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        turned = pixels.shape[:2] != (first.height, first.width)
        return VideoFacts(
            pixels.shape[0],
            pixels.shape[1],
            stream.frames or round(seconds * rate),
            Fraction(rate),
            Fraction(stream.time_base),
            1 / aspect if turned else aspect,
        )


def frames(place: str | Path, start_s: float = 0.0, end_s: float = 0.0, every: int = 1) -> Iterator[Frame]:
    """The frames of a video, in the order they are shown.

    Args:
        place: path, or URL that fsspec reads.
        start_s: from where on, in seconds from its first frame.
        end_s: up to where, exclusive; 0: to its end.
        every: take every so many-th of these.

    Raises:
        ConfigError: PyAV is not installed, or a part that cannot be.
        Reject: no video that can be read, or one that breaks off; what came before has been given.
    """
    check_part(start_s, end_s, every)
    place, last_s, size, taken = str(place), Fraction(-1), None, 0
    with _opened(place) as (container, stream):
        rate, first_s = stream.average_rate or stream.guessed_rate or FALLBACK_RATE, None
        for number, found in enumerate(_decoded(container, stream, place)):
            time_s = found.pts * Fraction(stream.time_base) if found.pts is not None else Fraction(number) / rate
            first_s = time_s if first_s is None else first_s
            time_s -= first_s
            if time_s <= last_s:
                raise Reject(
                    f"video {place}: frame {number} is shown at {float(time_s):.3f} s, not after the one before it "
                    f"({float(last_s):.3f} s). Write the file anew with a video program to repair its times"
                )
            last_s = time_s
            if end_s and time_s >= end_s:
                break
            if time_s < start_s:
                continue
            taken += 1
            if (taken - 1) % every:
                continue
            pixels = _upright(found)
            size = size or pixels.shape
            if pixels.shape != size:
                raise Reject(
                    f"video {place}: frame {number} has {pixels.shape[0]} x {pixels.shape[1]} pixels, those before it "
                    f"{size[0]} x {size[1]}; expected one size. Predict the parts one by one: video.start_s, "
                    "video.end_s"
                )
            yield Frame(number, time_s, pixels)


def check_part(start_s: float, end_s: float, every: int) -> None:
    """ConfigError: no frame could be in it."""
    if start_s < 0 or end_s < 0 or (end_s and end_s <= start_s) or every < 1:
        raise ConfigError(
            f"video: start_s {start_s:g}, end_s {end_s:g}, every {every}; expected a start of 0 or more, an end after "
            "it (or 0: to the end), and every=1 or more."
        )


class VideoWriter:
    """A video being written, as a context: whole once it is left without an error.

    Args:
        path: file, .mp4.
        like: the video whose times, rate and pixel shape it takes.
    """

    def __init__(self, path: Path, like: VideoFacts) -> None:
        self._av, self.path, self.like = _pyav(), path, like
        if CODEC not in self._av.codecs_available:
            raise ConfigError(
                f"{path}: this installation of PyAV has no H.264 encoder ({CODEC}). Install the wheel of "
                "`pip install 'diffusion-perception[video]'`, or set draw=false."
            )
        with self._as_os_errors():
            self._container = self._av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: Any = None
        self._waiting: tuple[Any, int] | None = None  # a frame and its time; how long it is shown, the next one says
        self._shown: dict[int, int] = {}  # by time: how long; the encoder forgets it

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._as_os_errors():
            if kind is None:
                self._finish()
            else:
                self._container.close()

    def add(self, picture: np.ndarray, time_s: Fraction) -> None:
        """A frame, uint8 [H, W, 3], of one size all along; odd sides get their last row or column twice."""
        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._start(even.shape[0], even.shape[1])
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        time = round(time_s / self.like.time_base_s)
        with self._as_os_errors():
            self._encode_waiting(time)
        self._waiting = frame, time

    @contextmanager
    def _as_os_errors(self) -> Iterator[None]:
        """Such as a full disk, as whoever opened the file expects it."""
        try:
            yield
        except self._av.FFmpegError as error:
            raise OSError(error.errno, error.strerror or str(error)) from error

    def _start(self, height: int, width: int) -> None:
        self._stream = self._container.add_stream(CODEC, rate=self.like.rate, options=CODEC_OPTIONS)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.sample_aspect_ratio = self.like.time_base_s, self.like.pixel_aspect
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        self._stream.time_base = self.like.time_base_s

    def _encode_waiting(self, until: int) -> None:
        if self._waiting is None:
            return
        frame, time = self._waiting
        self._shown[time] = until - time
        frame.pts, frame.time_base = time, self.like.time_base_s
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            packet.duration = self._shown[packet.pts]
            self._container.mux(packet)

    def _finish(self) -> None:
        if self._waiting is not None:
            as_last = [*self._shown.values()][-1:] or [round(1 / (self.like.rate * self.like.time_base_s))]
            self._encode_waiting(self._waiting[1] + as_last[0])
            self._mux(self._stream.encode())
        self._container.close()


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise ConfigError(
            f"a video needs PyAV, which is not installed ({error}): pip install 'diffusion-perception[video]'."
        ) from error
    return av


@contextmanager
def _opened(place: str) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream."""
    av = _pyav()
    local = "://" not in place
    with nullcontext(str(Path(os.path.expanduser(place)))) if local else opened(place, "video") as file:
        try:
            container = av.open(file, metadata_errors="replace")
        except Exception as error:  # of FFmpeg, or of the file system of a URL, each of which has its own
            raise Reject(f"video {place} cannot be read: {_said(error)}") from error
        with container:
            stream = container.streams.best("video")
            if stream is None or "ATTACHED_PIC" in str(stream.disposition).upper():
                kinds = ", ".join(sorted({one.type for one in container.streams})) or "none"
                raise Reject(f"video {place}: no video stream in it (streams: {kinds})")
            stream.thread_type = "AUTO"
            yield container, stream


def _decoded(container: Any, stream: Any, place: str) -> Iterator[Any]:
    number, n_packets = 0, 0
    n_indexed = len(stream.index_entries)  # of every frame in mp4, mov and avi, of some in others
    try:
        for packet in container.demux(stream):
            n_packets += packet.size > 0 and not packet.is_corrupt
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise Reject(f"video {place}: frame {number} is damaged; {_before(number)}")
                yield frame
                number += 1
        if n_packets < n_indexed:  # FFmpeg ends without an error there
            raise Reject(f"video {place}: the file ends after {n_packets} of {n_indexed} frames; {_before(number)}")
    except Reject:
        raise
    except Exception as error:  # as above
        raise Reject(f"video {place}: frame {number} cannot be decoded ({_said(error)}); {_before(number)}") from error


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _before(number: int) -> str:
    return f"video.end_s=SECONDS predicts what comes before it ({number} frames)"


def _upright(frame: Any) -> np.ndarray:
    """A frame's pixels [H, W, 3] as the file's display matrix asks for: quarter turns and mirror images."""
    pixels = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5] / 65536  # x' = a x + c y, y' = b x + d y
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
