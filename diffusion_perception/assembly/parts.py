"""What a configuration names without a set or a network: its task, and its learning-rate curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diffusion_perception import plugins
from shards.errors import ConfigError

if TYPE_CHECKING:
    from diffusion_perception.train_job import TrainJob
    from vpd.tasks import Task
    from vpd.training.schedules import Schedule


def build_task(job: TrainJob) -> Task:
    """The task object a configuration names.

    Raises:
        ConfigError: captions are dropped, and the task reads none.
    """
    task: Task = plugins.build_plugin(plugins.TASKS, job.task, "task")
    if job.data.caption_drop and not task.uses_text:
        raise ConfigError(
            f"data.caption_drop is {job.data.caption_drop}, but task {task.name} reads no sentences that could be "
            "left out. Leave it out, or train a task that finds what a sentence says, such as refer."
        )
    return task


def build_schedule(schedule: Mapping[str, Any], total: int, steps_per_epoch: float) -> Schedule:
    """The learning-rate curve that `optim.schedule` names, over a run of `total` steps.

    Raises:
        ConfigError: unknown name or option, or a curve that does not fit the run.
    """
    return plugins.build_plugin(plugins.SCHEDULES, schedule, "optim.schedule", total, steps_per_epoch)
