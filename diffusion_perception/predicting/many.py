"""Many pictures in one start: what is left to do, the work on some of them, and the record of what is done.

Owns the three parts that a start consists of wherever it runs: `planned` (everything checked, before a model is
loaded), `done_of` (a loaded model on some of the pictures; needs nothing but the settings and the folder, so that
other processes can do it), and `recorded` (one process notes what is finished and says it).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_perception.predicting.answer_files import printable, style_of, write_drawn, write_export
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.outputs import OutputFolder
from diffusion_perception.predicting.picture_files import PictureFile, is_video, pictures_of
from diffusion_perception.predicting.video import predict_video
from diffusion_perception.predicting.video_files import look
from shards.errors import ConfigError, Reject
from shards.progress import reports

if TYPE_CHECKING:
    from diffusion_perception.predicting.predictor import Predicted, Predictor

NAMED = 5  # pictures in the message about those that could not be predicted


@dataclass(frozen=True)
class Named:
    """A picture to do, and the name of its outputs below the folder."""

    picture: PictureFile
    name: str


@dataclass(frozen=True)
class Done:
    """What became of one picture or video.

    Attributes:
        outputs: files that were written, below the folder.
        said: what was found, in words, for each sentence.
        empty: answers in which nothing was found.
        error: why there is none.
    """

    picture: PictureFile
    name: str
    outputs: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    empty: int = 0
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """The pictures of a start: `todo` of `n_pictures`, and videos that cannot be read; the others were finished
    before."""

    folder: OutputFolder
    n_pictures: int
    todo: tuple[Named, ...]
    refused: tuple[Done, ...] = ()


def planned(job: PredictJob, run: str, where: str) -> Plan:
    """What is left to do.

    Args:
        run: the job's, as an absolute path.
        where: the weights.

    Raises:
        ConfigError: no picture, a folder that holds other predictions, or a video without the extra for it.
    """
    pictures = pictures_of((job.images,) if isinstance(job.images, str) else job.images)
    if "://" in job.into:
        raise ConfigError(f"into={job.into}: outputs go to a folder of this machine or a shared disk, not to a URL.")
    folder = OutputFolder(Path(os.path.expanduser(job.into)), _identity(job, run, where))
    named = [Named(picture, folder.name(picture)) for picture in pictures]  # the same, whichever of them are broken
    todo = tuple(one for one in named if not folder.finished(one.picture))
    done = len(pictures) - len(todo)
    print(f"[predict] {len(pictures)} pictures" + (f", {done} of them finished before" if done else ""), flush=True)
    refused = tuple(_unreadable(todo))
    bad = {done.picture.place for done in refused}
    return Plan(folder, len(pictures), tuple(one for one in todo if one.picture.place not in bad), refused)


def done_of(job: PredictJob, predictor: Predictor, folder: Path, todo: Sequence[Named]) -> Iterator[Done]:
    """Predict pictures and write all their outputs, one after the other, batched across them; then the videos."""
    pictures = [one for one in todo if not is_video(one.picture.place)]
    videos = [one for one in todo if is_video(one.picture.place)]
    places = (one.picture.place for one in pictures)
    found = predictor.many(places, job.asked, job.class_name, job.boxes, job.batch_size)
    for one, predicted in zip(pictures, found, strict=True):
        if predicted.error is not None:
            yield Done(one.picture, one.name, error=str(predicted.error))
        else:
            yield _written(job, predictor, folder, one, predicted)
    for one in videos:
        try:
            outputs, said, empty = predict_video(job, predictor, one.picture.place, folder, one.name)
        except Reject as reject:
            yield Done(one.picture, one.name, error=str(reject))
        else:
            yield Done(one.picture, one.name, tuple(outputs), tuple(said), empty)


def recorded(plan: Plan, found: Iterable[Done]) -> None:
    """Note pictures as finished as they come, and say what was found.

    Raises:
        Reject: some could not be predicted; all others are finished.
    """
    report, bad, empty = reports("[predict]", "pictures"), [], 0
    n_started = len(plan.refused) + len(plan.todo)
    for number, done in enumerate(chain(plan.refused, found), 1):
        if done.error:
            bad.append(done.picture)
            print(f"[predict] not predicted: {printable(done.error)}", flush=True)
        else:
            plan.folder.add(done.picture, done.name, list(done.outputs), list(done.said))
            print(f"[predict] {printable(done.picture.name)}: {printable('; '.join(done.said))}", flush=True)
            empty += done.empty
        report(number, n_started)
    print(f"[predict] wrote the outputs of {n_started - len(bad)} pictures to {plan.folder.folder}", flush=True)
    if empty:
        print(f"[predict] nothing was found in {empty} answers", flush=True)
    if bad:
        first = ", ".join(printable(picture.place) for picture in bad[:NAMED])
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise Reject(
            f"{len(bad)} of {plan.n_pictures} pictures could not be predicted: {first}{more}. The reasons stand above; "
            "all others are finished."
        )


def _unreadable(todo: Iterable[Named]) -> Iterator[Done]:
    """Videos that cannot be read, known before a model is loaded; ConfigError: without the extra for it."""
    for one in todo:
        if is_video(one.picture.place):
            try:
                look(one.picture.place)
            except Reject as reject:
                yield Done(one.picture, one.name, error=str(reject))


def check_something_written(job: PredictJob) -> None:
    """ConfigError: neither drawings nor exports are asked for."""
    if not job.draw and not job.exports:
        raise ConfigError("draw is false and exports empty: nothing would be written.")


def _written(job: PredictJob, predictor: Predictor, folder: Path, one: Named, predicted: Predicted) -> Done:
    """Write all outputs of one picture."""
    task, image, outputs, said, empty = predictor.task, predicted.image, [], [], 0
    assert image is not None
    for number, answer in enumerate(predicted.answers):
        base = f"{one.name}-{number:03d}" if len(predicted.answers) > 1 else one.name
        style = style_of(job, predictor.trained.class_names, number)
        legend = task.legend(image, answer, style)
        said.append(legend.title)
        empty += legend.empty
        if job.draw:
            outputs.append(f"{base}-drawn.png")
            write_drawn(job, task, image, answer, style, legend, folder / outputs[-1])
        for suffix in job.exports:
            outputs.append(f"{base}{suffix}")
            write_export(task, image, answer, style, folder / outputs[-1])
    return Done(one.picture, one.name, tuple(outputs), tuple(said), empty)


def _identity(job: PredictJob, run: str, where: str) -> dict[str, Any]:
    """What determines the outputs of a picture."""
    kept = ("class_name", "boxes", "views", "draw", "legend", "colormap", "exports", "focal_px", "fov_deg")
    kept += ("near_m", "far_m")
    video = {"video": asdict(job.video)}
    return {"run": run, "weights": where, "sentences": job.asked} | {name: getattr(job, name) for name in kept} | video
