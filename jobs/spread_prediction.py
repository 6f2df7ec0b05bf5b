"""`predict --ray`: the pictures of a start spread over a cluster by Ray Data, one pool of actors.

Owns placement: how many actors, what they are given, and that the driver alone keeps the record, as tasks come back in
any order. What a task does is `jobs.picture_actor`'s. Ray Data places the tasks and gives them to another actor when
one dies; writing a picture's outputs again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from diffusion_perception.predicting.command import plan_of
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.many import Done, Named, Plan, recorded
from diffusion_perception.predicting.picture_files import is_video
from jobs import cluster
from jobs.picture_actor import TASK, PictureActor, encoded, told
from shards.errors import ConfigError, ContractError


def placed(job: PredictJob) -> PredictJob:
    """The job with its paths as every node sees them.

    Raises:
        ConfigError: one picture, which is nothing to spread, or a relative path in an uploaded working directory.
    """
    if job.image:
        raise ConfigError("--ray spreads many pictures: say which, images=FOLDER, or leave --ray out.")
    named = (job.images,) if isinstance(job.images, str) else job.images
    images = tuple(resolve_path(images.removeprefix("file://"), "images") for images in named)
    return replace(job, images=images, into=resolve_path(job.into, "into"))


def spread(job: PredictJob, run: str, *, local: bool) -> None:
    """Predict many pictures on a cluster; `run` is the job's as an absolute path.

    Raises:
        ConfigError: as of `diffusion_perception.predicting.command.predict`, or a cluster that is too small or not
        there. Reject: pictures could not be predicted; all others are finished.
    """
    job = placed(job)
    plan = plan_of(job, run)
    if not plan.todo:
        if plan.refused:
            recorded(plan, ())
        return
    tasks = tasks_of(plan.todo, job.resources.pictures_per_task)
    n_actors = min(max(job.resources.actors, 1), len(tasks))
    asked = f"resources.actors={n_actors} resources.cpus_per_actor={job.resources.cpus_per_actor:g}"
    cluster.connect(local, n_actors * job.resources.cpus_per_actor, asked)
    recorded(plan, _done(job, run, plan, tasks))


def tasks_of(todo: Sequence[Named], size: int) -> list[str]:
    """What actors are given at a time: so many pictures, or one video."""
    pictures = [one for one in todo if not is_video(one.picture.place)]
    videos = [one for one in todo if is_video(one.picture.place)]
    groups = [[*pictures[first : first + size]] for first in range(0, len(pictures), size)]
    return [encoded(group) for group in [*([video] for video in videos), *groups]]  # the longest first


def _done(job: PredictJob, run: str, plan: Plan, tasks: Sequence[str]) -> Iterator[Done]:
    import ray
    from ray.exceptions import RayActorError

    gpu = job.device in ("", "cuda")
    actors, gpus = cluster.claim_actors(job.resources, len(tasks), "actor(s)", gpu=gpu)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the record says how far it is
    context.execution_options.preserve_order = False
    words = (settings.to_plain(job), run, str(Path(plan.folder.folder).resolve()))
    rows = ray.data.from_items([{TASK: task} for task in tasks], override_num_blocks=len(tasks))
    pool = ray.data.ActorPoolStrategy(size=actors)
    options: dict[str, Any] = {"num_cpus": job.resources.cpus_per_actor, "num_gpus": gpus or None}
    options |= {"max_restarts": 3, "max_task_retries": 3}  # Ray Data's own number is for ever
    found = rows.map_batches(PictureActor, batch_size=1, compute=pool, fn_constructor_args=words, **options)
    try:
        yield from told(found.iter_rows())
    except RayActorError as error:
        raise ContractError(
            f"predict --ray: an actor died again and again ({error}). What is finished is kept; look at the node's "
            "memory, or lower resources.pictures_per_task, then give the same command again."
        ) from error
