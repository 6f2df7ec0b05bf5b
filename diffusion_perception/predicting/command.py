"""The command `predict` without its command line: one picture or many, everything checked first, each output whole.

Owns the order of the checks, and one picture. The settings are `job`'s, many pictures `many`'s, the
model on pictures `predictor`'s, which pictures are meant `picture_files`', drawings the task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_perception.outside_tasks import check_pictured
from diffusion_perception.predicting.answer_files import printable, style_of, write_drawn, write_export
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.many import Plan, check_something_written, done_of, planned, recorded
from diffusion_perception.predicting.outputs import check_drawable, check_exported, check_writable
from diffusion_perception.predicting.picture_files import is_video, read
from shards.errors import ConfigError, Reject

if TYPE_CHECKING:
    from diffusion_perception.predicting.predictor import Predictor
    from vpd.tasks import Task


def predict(job: PredictJob, run: str) -> None:
    """Predict, draw and write; `run` is the job's as an absolute path.

    Raises:
        ConfigError: a setting that cannot be, an output that cannot be written, found before a model is loaded.
        Reject: pictures could not be predicted; all others are finished.
    """
    if job.image:
        _one(job, run)
        return
    plan = plan_of(job, run)
    if plan.todo or plan.refused:
        done = done_of(job, predictor_of(job, run), plan.folder.folder, plan.todo) if plan.todo else ()
        recorded(plan, done)


def plan_of(job: PredictJob, run: str) -> Plan:
    """What many pictures leave to do, all settings checked; ConfigError: as of `predict`."""
    check_something_written(job)
    _, _, where = _described(job, run, job.exports, "exports")
    return planned(job, run, where)


def predictor_of(job: PredictJob, run: str) -> Predictor:
    """The model of a job, loaded."""
    from diffusion_perception.predicting.predictor import Predictor

    predictor = Predictor(run, job.checkpoint, job.device, job.views, job.memory_gb)
    if predictor.trained.averaged:
        print(f"[predict] {predictor.trained.where}: averaged weights", flush=True)
    return predictor


def _one(job: PredictJob, run: str) -> None:
    if is_video(job.image):
        raise ConfigError(f"image={job.image}: is a video; images={job.image} predicts its frames, into a folder.")
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
    predictor = predictor_of(job, run)
    (found,) = predictor.many([image], job.asked, job.class_name, job.boxes, job.batch_size)
    if found.error:
        raise found.error
    for number, (out, answer) in enumerate(zip(outs, found.answers, strict=True)):
        style = style_of(job, names, number)
        legend = task.legend(image, answer, style)
        write_drawn(job, task, image, answer, style, legend, out)
        title = printable(legend.title)
        print(f"{title}\nwrote {out}" if title else f"wrote {out}")
        if job.export:
            write_export(task, image, answer, style, exports[number])
            print(f"wrote {exports[number]}")


def _described(job: PredictJob, run: str, suffixes: Sequence[str], setting: str) -> tuple[Task, tuple[str, ...], str]:
    """The task, its class names and where the weights lie, before they are read; what they do not allow is refused."""
    from diffusion_perception.predicting.picture_record import class_id_of
    from diffusion_perception.trained import described
    from vpd.drawing.colormaps import colormap
    from vpd.tasks.depth.cloud import focal_of

    colormap(job.colormap)
    task, names, where = described(run, job.checkpoint)
    check_pictured(task)
    known = tuple(dict.fromkeys((task.export_suffix, *task.export_suffixes)))
    for suffix in suffixes:
        check_exported(suffix, known, f"{setting}={getattr(job, setting)}", task.name)
        if suffix.lower() == ".ply":
            focal_of(job.focal_px, job.fov_deg, 1)
    if task.uses_text and not job.asked:
        raise ConfigError("say what to look for: sentence='the dog on the left'.")
    class_id_of(job.class_name, names)
    return task, names, where


def _numbered(path: Path, count: int) -> list[Path]:
    """A path for each of several answers: `out-000.png`, ...; itself for one."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number:03d}{path.suffix}") for number in range(count)]
