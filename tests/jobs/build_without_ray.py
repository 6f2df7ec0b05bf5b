"""The command `build` in one process: its words, settings and forecast, and one builder in place of the actors."""

from __future__ import annotations

from toy_jobs import build_here

from diffusion_perception import settings
from diffusion_perception.building.builder import placed
from diffusion_perception.building.forecast import forecast_build
from jobs.build_shards import FLAGS, JOB, draft
from jobs.command_line import CommandLine

__all__ = ["FLAGS", "JOB", "draft", "run"]


def run(words: list[str]) -> None:
    job = placed(settings.bind(JOB, draft(CommandLine.parse(words, flags=FLAGS))))
    forecast_build(job)
    print(settings.spelled_out(job))
    build_here(settings.to_plain(job))
