"""The command `predict` without its command line: one picture or many, everything checked first, each output whole.

Owns the settings, the order of the checks, and what is said. The model on pictures is
`diffusion_perception.predictor`'s, which pictures are meant `picture_files`', names and resuming
`prediction_outputs`', drawings the task's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from diffusion_perception import plugins
from diffusion_perception.picture_files import PictureFile, pictures_of, read
from diffusion_perception.prediction_outputs import (
    OutputFolder,
    check_drawable,
    check_exported,
    check_writable,
    written,
)
from shards.errors import ConfigError, Reject
from shards.progress import reports

if TYPE_CHECKING:
    from diffusion_perception.predictor import Predictor
    from vpd.drawing.style import Style
    from vpd.tasks import Task

NAMED = 5  # pictures in the message about those that could not be predicted


@dataclass(frozen=True)
class PredictJob:
    """Settings of a prediction."""

    run: str  # folder of a training run, or a model folder
    image: str = ""  # one picture: any file that Pillow reads
    images: str | tuple[str, ...] = ()  # many: a folder, glob, list file (.txt) or URL, or a list of these and of files
    sentence: str = ""  # what to look for (refer)
    sentences: tuple[str, ...] = ()  # several, each with outputs of its own
    class_name: str = ""  # scene class (depth); empty: the mean of all classes
    boxes: tuple[tuple[float, ...], ...] = ()  # of persons, [[x, y, width, height], ...] (pose); empty: whole image
    checkpoint: str = "best"  # best, last, or a step number
    views: Annotated[Mapping[str, Any], plugins.VIEWS] = field(
        default_factory=dict
    )  # how the image is cut, {name: ..., ...}; empty: as the run says
    out: str = "prediction.png"  # of one picture: what to look at
    export: str = ""  # of one picture: also the prediction itself, in the format that the suffix says
    into: str = "predictions"  # of many: folder for their outputs; started again, it goes on there
    exports: tuple[
        str, ...
    ] = ()  # of many: suffixes of the files with the predictions themselves, such as [.png, .npy]
    draw: bool = True  # of many: also the pictures to look at
    legend: bool = True  # a strip below drawn pictures says what the colours mean
    colormap: str = "dusk"  # of depth: dusk, spectral or grey
    focal_px: float = 0.0  # for .ply: focal length in pixels of the picture
    fov_deg: float = 0.0  # for .ply: in its place, the horizontal field of view
    batch_size: int = 0  # views in one pass of the model; 0: the run's data.eval_batch_size on a GPU, else 4
    memory_gb: float = 0.0  # what one picture may take; 0: what the machine has available
    device: str = ""  # cpu, cuda, cuda:1 or mps; empty: a GPU if there is one

    def __post_init__(self) -> None:
        if bool(self.image) == bool(self.images):
            raise ConfigError("say which picture, image=photo.jpg, or which pictures, images=FOLDER; not both.")
        if self.sentence and self.sentences:
            raise ConfigError("sentence and sentences are both given; expected one of them.")
        if self.batch_size < 0 or self.memory_gb < 0:
            raise ConfigError(f"batch_size is {self.batch_size}, memory_gb {self.memory_gb}; expected 0 or more.")

    @property
    def asked(self) -> tuple[str, ...]:
        """The sentences."""
        return (self.sentence,) if self.sentence else self.sentences


def predict(job: PredictJob, run: str) -> None:
    """Predict, draw and write; `run` is the job's as an absolute path.

    Raises:
        ConfigError: a setting that cannot be, an output that cannot be written, found before a model is loaded.
        Reject: pictures could not be predicted; all others are finished.
    """
    from vpd.drawing.colormaps import colormap

    colormap(job.colormap)
    if job.image:
        _one(job, run)
    else:
        _many(job, run)


def _one(job: PredictJob, run: str) -> None:
    try:
        image = read(job.image)  # [H, W, 3]
    except Reject as reject:
        raise ConfigError(f"image={job.image}: not an image file that can be read: {reject}.") from reject
    check_drawable(job.out, "out")
    n_answers = max(len(job.asked), 1)
    outs = _numbered(Path(job.out), n_answers)
    exports = _numbered(Path(job.export), n_answers) if job.export else []
    for setting, paths in (("out", outs), ("export", exports)):
        for path in paths:
            check_writable(path, setting)
    task, names, _ = _described(job, run, [Path(job.export).suffix] if job.export else [], "export")
    predictor = _predictor(job, run)
    (found,) = predictor.many([image], job.asked, job.class_name, job.boxes, job.batch_size)
    if found.error:
        raise found.error
    for number, (out, answer) in enumerate(zip(outs, found.answers, strict=True)):
        style = _style(job, names, number)
        title = _write_drawn(job, task, image, answer, style, out)
        print(f"{title}\nwrote {out}" if title else f"wrote {out}")
        if job.export:
            _write_export(task, image, answer, style, exports[number])
            print(f"wrote {exports[number]}")


def _many(job: PredictJob, run: str) -> None:
    pictures = pictures_of((job.images,) if isinstance(job.images, str) else job.images)
    if not job.draw and not job.exports:
        raise ConfigError("draw is false and exports empty: nothing would be written.")
    task, names, where = _described(job, run, job.exports, "exports")
    folder = OutputFolder(Path(job.into).expanduser(), _identity(job, run, where))
    todo = [picture for picture in pictures if not folder.finished(picture)]
    done = len(pictures) - len(todo)
    print(f"[predict] {len(pictures)} pictures" + (f", {done} of them finished before" if done else ""), flush=True)
    if not todo:
        return
    predictor = _predictor(job, run)
    report, bad = reports("[predict]", "pictures"), []
    places = (picture.place for picture in todo)
    found = predictor.many(places, job.asked, job.class_name, job.boxes, job.batch_size)
    for number, (picture, one) in enumerate(zip(todo, found, strict=True), 1):
        if one.error is not None:
            bad.append(picture)
            print(f"[predict] not predicted: {printable(str(one.error))}", flush=True)
        else:
            assert one.image is not None
            said = _write_all(job, task, names, folder, picture, one.image, one.answers)
            print(f"[predict] {printable(picture.name)}: {printable('; '.join(said))}", flush=True)
        report(number, len(todo))
    print(f"[predict] wrote the outputs of {len(todo) - len(bad)} pictures to {folder.folder}", flush=True)
    if bad:
        first = ", ".join(printable(picture.place) for picture in bad[:NAMED])
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise Reject(
            f"{len(bad)} of {len(pictures)} pictures could not be predicted: {first}{more}. The reasons stand above; "
            "all others are finished."
        )


def _write_all(
    job: PredictJob,
    task: Task,
    names: Sequence[str],
    folder: OutputFolder,
    picture: PictureFile,
    image: np.ndarray,
    answers: Sequence[np.ndarray],
) -> list[str]:
    """Write all outputs of one picture; what was found, in words."""
    name, outputs, said = folder.name(picture), [], []
    for number, answer in enumerate(answers):
        base = f"{name}-{number:03d}" if len(answers) > 1 else name
        style = _style(job, names, number)
        said.append(task.legend(image, answer, style).title)
        if job.draw:
            outputs.append(f"{base}-drawn.png")
            _write_drawn(job, task, image, answer, style, folder.folder / outputs[-1])
        for suffix in job.exports:
            outputs.append(f"{base}{suffix}")
            _write_export(task, image, answer, style, folder.folder / outputs[-1])
    folder.add(picture, name, outputs, said)
    return said


def _write_drawn(job: PredictJob, task: Task, image: np.ndarray, answer: np.ndarray, style: Style, out: Path) -> str:
    """Draw an answer and write the picture; the title of its legend."""
    from PIL import Image

    from vpd.drawing.strip import with_legend

    drawn, legend = task.draw(image, answer, style), task.legend(image, answer, style)
    with written(out) as path:
        Image.fromarray(with_legend(drawn, legend) if job.legend else drawn).save(path)
    return printable(legend.title)


def _write_export(task: Task, image: np.ndarray, answer: np.ndarray, style: Style, out: Path) -> None:
    with written(out) as path:
        task.export(answer, path, image, style)


def _described(job: PredictJob, run: str, suffixes: Sequence[str], setting: str) -> tuple[Task, tuple[str, ...], str]:
    """The task, its class names and where the weights lie, before they are read; what they do not allow is refused."""
    from diffusion_perception.picture_record import class_id_of
    from diffusion_perception.trained import described
    from vpd.tasks.depth.cloud import focal_of

    task, names, where = described(run, job.checkpoint)
    known = tuple(dict.fromkeys((task.export_suffix, *task.export_suffixes)))
    for suffix in suffixes:
        check_exported(suffix, known, f"{setting}={getattr(job, setting)}", task.name)
        if suffix.lower() == ".ply":
            focal_of(job.focal_px, job.fov_deg, 1)
    if task.uses_text and not job.asked:
        raise ConfigError("say what to look for: sentence='the dog on the left'.")
    class_id_of(job.class_name, names)
    return task, names, where


def _predictor(job: PredictJob, run: str) -> Predictor:
    from diffusion_perception.predictor import Predictor

    return Predictor(run, job.checkpoint, job.device, job.views, job.memory_gb)


def _style(job: PredictJob, names: Sequence[str], number: int) -> Style:
    from vpd.drawing.style import Style

    sentence = job.asked[number] if job.asked else ""
    return Style(tuple(names), sentence, job.colormap, job.focal_px, job.fov_deg)


def _identity(job: PredictJob, run: str, where: str) -> dict[str, Any]:
    """What determines the outputs of a picture."""
    kept = ("class_name", "boxes", "views", "draw", "legend", "colormap", "exports", "focal_px", "fov_deg")
    return {"run": run, "weights": where, "sentences": job.asked} | {name: getattr(job, name) for name in kept}


def _numbered(path: Path, count: int) -> list[Path]:
    """A path for each of several answers: `out-000.png`, ...; itself for one."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number:03d}{path.suffix}") for number in range(count)]


def printable(text: str) -> str:
    """Text that any terminal takes: what is no character of a file's name is shown as its code."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
