"""One video: its frames through a loaded model, their drawings as a video again, and the numbers of each in files.

Owns what keeps a drawn video steady: one size of its frames, and what a task would choose anew for every picture (the
range of its colours, the colour of a mask) chosen once. A video is written under a hidden name and renamed when it is
whole; an interrupted one is begun again. Reading and writing files is `video_files`', what is left to do
`many`'s.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusion_perception.predicting.answer_files import printable, style_of, write_export
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.outputs import written
from diffusion_perception.predicting.video_files import Frame, VideoFacts, VideoWriter, look
from shards.errors import Reject
from shards.progress import reports

if TYPE_CHECKING:
    from diffusion_perception.predicting.predictor import Predicted, Predictor
    from vpd.drawing.style import Style
    from vpd.tasks import Task

ROOM = 2  # lines that legends may take beyond the first frame's


def predict_video(
    job: PredictJob, predictor: Predictor, place: str, folder: Path, name: str
) -> tuple[list[str], list[str], int]:
    """Predict a video and write its outputs below the folder, named after `name`.

    Returns:
        The files that were written, what was found in words for each sentence, and answers in which nothing was found.

    Raises:
        Reject: it cannot be read to its end, or has no frame in the part that is asked for.
    """
    facts, part = look(place), job.video
    about = max(facts.about_frames, 1)
    report, shown = reports(f"[predict] {printable(name)}:", "frames"), f"{facts.width_px} x {facts.height_px}"
    frames = f"about {facts.about_frames} frames" if facts.about_frames > 1 else "frames"  # 1: of no known number
    print(f"[predict] {printable(place)}: {frames} of {shown} pixels, from the first", flush=True)
    outputs: list[str] = []
    with ExitStack() as whole:
        tracks: list[_Track] = []
        n_frames = 0
        found = predictor.video(
            place, job.asked, job.class_name, job.boxes, job.batch_size, part.start_s, part.end_s, part.every
        )
        for n_frames, one in enumerate(found, 1):
            assert isinstance(one.picture, Frame)
            if one.error is not None:
                raise Reject(f"video {place}: frame {one.picture.number}: {one.error}") from one.error
            if not tracks:
                bases = [f"{name}-{k:03d}" for k in range(len(one.answers))] if len(one.answers) > 1 else [name]
                outputs += [f"{base}-drawn.mp4" for base in bases] if job.draw else []
                drawn = [folder / output for output in outputs]
                styles = [style_of(job, predictor.trained.class_names, k) for k in range(len(bases))]
                tracks = [_Track(job, predictor.task, style) for style in styles]
                for track, path in zip(tracks, drawn, strict=False):
                    track.writer = whole.enter_context(VideoWriter(whole.enter_context(written(path)), facts))
            outputs += _frame(job, predictor.task, tracks, one, folder, name)
            report(n_frames, max(about // part.every, n_frames))
        if not n_frames:
            raise Reject(_nothing(place, facts, job))
    return outputs, [track.said(n_frames) for track in tracks], sum(track.empty for track in tracks)


def _frame(job: PredictJob, task: Task, tracks: list[_Track], one: Predicted, folder: Path, name: str) -> list[str]:
    """Draw a frame into its videos and write its exports; their names."""
    assert isinstance(one.picture, Frame)
    assert one.image is not None
    exported = []
    for number, (track, answer) in enumerate(zip(tracks, one.answers, strict=True)):
        track.add(one.picture, one.image, answer)
        base = f"{one.picture.number:06d}" + (f"-{number:03d}" if len(tracks) > 1 else "")
        for suffix in job.exports:
            exported.append(f"{name}-frames/{base}{suffix}")
            write_export(task, one.image, answer, track.style, folder / exported[-1])
    return exported


class _Track:
    """The answers to one sentence, along a video."""

    def __init__(self, job: PredictJob, task: Task, style: Style) -> None:
        self.job, self.task, self.style = job, task, style
        self.writer: VideoWriter | None = None
        self.empty = 0
        self._strip_px: int | None = None

    def add(self, frame: Frame, image: np.ndarray, answer: np.ndarray) -> None:
        from vpd.drawing.strip import line_px, with_legend

        self.style = self.task.steady(image, answer, self.style)
        legend = self.task.legend(image, answer, self.style)
        self.empty += legend.empty
        if self.writer is None:
            return
        drawn = self.task.draw(image, answer, self.style)  # [H, W, 3]
        if self.job.legend:
            if self._strip_px is None:
                strip_px = len(with_legend(drawn, legend)) - len(drawn)
                self._strip_px = strip_px + ROOM * line_px(len(drawn)) if strip_px else 0
            drawn = with_legend(drawn, legend, self._strip_px)
        self.writer.add(drawn, frame.time_s)

    def said(self, n_frames: int) -> str:
        """What was found, in words."""
        asked = f"{self.style.sentence}: " if self.style.sentence else ""
        empty = f", nothing found in {self.empty} of them" if self.empty else ""
        return f"{asked}{n_frames} frames{empty}"


def _nothing(place: str, facts: VideoFacts, job: PredictJob) -> str:
    length_s = float(facts.about_frames / facts.rate)
    return (
        f"video {place}: no frame from video.start_s={job.video.start_s:g} to video.end_s={job.video.end_s:g}; it is "
        f"about {length_s:.1f} s long"
    )
