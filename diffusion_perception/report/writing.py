"""What `report` does: read the runs, look at predictions of each, write one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from diffusion_perception.figures import check_installed
from diffusion_perception.report.features import features_of
from diffusion_perception.report.over_time import drawn_over_time
from diffusion_perception.report.page import page
from diffusion_perception.report.predictions import ExampleOptions, extremes
from diffusion_perception.report.runs import read_run
from diffusion_perception.set_page import PictureOptions
from shards.errors import ConfigError
from shards.storage.atomic import write_atomic


def write_report(
    runs: Sequence[str],
    path: str | Path,
    options: ExampleOptions | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Write the page of some runs.

    Args:
        runs: their folders or URLs.
        path: of the HTML file.
        options: which predictions are shown; none without.

    Raises:
        ConfigError: no run there, runs of one name, matplotlib is missing, or the page cannot be written.
        ContractError: what is read of a run or of its validation set is damaged.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ConfigError(f"html={path}: {path.parent} is not a folder. Make it, or name another file.")
    check_installed()
    read = [read_run(url) for url in runs]
    names = [run.name for run in read]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(
            f"several of the runs are called {', '.join(sorted(twice))}: a page tells them by their names."
        )
    examples = []
    if options and options.count:
        for run in read:
            say(f"[report] {run.name}: predictions")
            examples.append((run.name, *extremes(run.url, _own(options, run.job.loop.pictures_from), say)))
    seen = {}
    if options and options.features:
        for run in read:
            say(f"[report] {run.name}: features")
            seen[run.name] = features_of(run, _own(options, run.job.loop.pictures_from), say)
    drawn = {run.name: drawn_over_time(run.url, run.job.data.storage) for run in read}
    try:
        write_atomic(path, page(read, examples, drawn, seen).encode())
    except OSError as error:
        raise ConfigError(f"html={path}: cannot be written ({error}). Name a file in a folder that exists.") from error


def _own(options: ExampleOptions, pictures: str) -> ExampleOptions:
    """With the folder of pictures that the run drew on, where it is here and nothing else was asked for."""
    if options.pictures != PictureOptions() or not pictures or not Path(pictures).is_dir():
        return options
    return replace(options, pictures=replace(options.pictures, pictures=pictures))
