"""A sweep: its trials, what is finished of them, and the table at the end.

A trial is a timestep and a prompt, by the model's passes or from a bake; all layers and probes share it. Owns the
folder: `trials/<digest>.json` a trial, named by everything that it depends on, so that a sweep that was interrupted or
widened computes what is missing; `table.json`, `table.txt`, `table.svg`. Where trials run is the caller's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_perception import figures, plugins, settings
from diffusion_perception.features.of_sets import check_same_vae, tars_sha256
from diffusion_perception.probing import plot
from diffusion_perception.probing.baked import check, check_same_model
from diffusion_perception.probing.job import ProbeJob
from diffusion_perception.probing.on_pairs import ALPHAS, pairs_of, probe_pairs
from diffusion_perception.probing.on_sets import opened, probe_baked, probe_sets
from diffusion_perception.probing.table import Row, in_words
from shards.contract.canonical import canonical_json
from shards.errors import ConfigError
from shards.storage.atomic import write_atomic

if TYPE_CHECKING:
    from diffusion_perception.features.reading import Features
    from shards.reading.reader import ShardSet

FORM = 1  # of a trial's file; raised where its numbers would change
ELSEWHERE = (
    "timesteps",
    "prompts",
    "workers",
    "gpus_per_worker",
    "cpus_per_worker",
    "out",
    "storage",
    "cache_dir",
    "cache_gb",
    "train",
    "test",
    "baked",
    "live",
)  # settings that change no number of a trial, or are in it as fingerprints


@dataclass(frozen=True)
class Trial:
    """One timestep and prompt; `digest` is of all that its rows depend on, `baked` names what is read in place of a
    model."""

    timestep: float
    prompt: str
    digest: str
    baked: str = ""


# Runs trials: (job, trials) -> each with its rows, in any order.
Run = Callable[[ProbeJob, Sequence[Trial]], Iterable[tuple[Trial, list[Row]]]]


def sweep(job: ProbeJob, run: Run) -> list[Row]:
    """All rows, those of trials that are not finished computed by `run`; writes the table.

    Args:
        job: with absolute paths where other processes share them.

    Raises:
        ConfigError: settings, model and data that do not fit each other.
    """
    trials, folder = trials_of(job), Path(job.out)
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    done = {trial: rows for trial in trials if (rows := _finished(folder, trial)) is not None}
    todo = [trial for trial in trials if trial not in done]
    print(f"[probe] {len(trials)} trials, {len(done)} finished before", flush=True)
    if job.model and (
        bakes := {trial.baked: opened(job, job.baked[trial.baked]["train"]) for trial in todo if trial.baked}
    ):
        check_same_model(job, bakes)
    for trial, rows in run(job, todo):
        write_atomic(_file(folder, trial), _json([row.to_json() for row in rows]))
        done[trial] = rows
        print(f"[probe] {len(done)}/{len(trials)} trials", flush=True)
    rows = [row for trial in trials for row in done[trial]]
    write_atomic(folder / "table.json", _json({"settings": _plain(job), "rows": [row.to_json() for row in rows]}))
    write_atomic(folder / "table.txt", (text_of(job, rows) + "\n").encode())
    if figures.is_installed():
        write_atomic(folder / "table.svg", plot.drawn(rows, _chosen_by(job)[0]))
    return rows


def text_of(job: ProbeJob, rows: Sequence[Row]) -> str:
    """The table in words, its best row by the score that chooses checkpoints."""
    return in_words(rows, *_chosen_by(job))


def _chosen_by(job: ProbeJob) -> tuple[str, bool]:
    """The score that a row is best by, and whether higher is better."""
    if job.pairs:
        return f"PCK@{ALPHAS[0]:g} image", True
    task = plugins.build_plugin(plugins.TASKS, job.task, "task")
    return task.metric_name, task.higher_is_better


def trials_of(job: ProbeJob) -> list[Trial]:
    """In the order of the settings. Data is looked at here, so that what is wrong is said before a model is loaded."""
    sets: list[ShardSet] = []
    if job.pairs:
        data: Any = pairs_of(job).identity
    else:
        task = plugins.build_plugin(plugins.TASKS, job.task, "task")
        for name, spec in job.probes.items():
            plugins.build_plugin(plugins.PROBES, spec, f"probes.{name}", 1, task, job.steps)
        sets = [opened(job, url) for url in (job.train, job.test)]
        if job.batch_size > sets[0].n_items:
            raise ConfigError(
                f"batch_size is {job.batch_size}, {sets[0].manifest.name} has {sets[0].n_items} items: take no more."
            )
        data = [[one.manifest.name, one.manifest.fingerprint, tars_sha256(one.manifest)] for one in sets]
    said = {name: value for name, value in _plain(job).items() if name not in ELSEWHERE}
    common = {"form": FORM, "settings": said, "data": data}
    live = common | {"model": _files_of(job.model)}
    trials = [
        Trial(timestep, prompt, _digest(live | {"timestep": timestep, "prompt": prompt}))
        for timestep in job.timesteps
        for prompt in job.prompts
        if job.live
    ]
    for name, places in job.baked.items():
        bakes = [opened(job, places[part]) for part in ("train", "test")]
        timestep, prompt = check(job, name, sets, bakes)
        read = [[one.manifest.fingerprint, tars_sha256(one.manifest)] for one in bakes]
        trials.append(Trial(timestep, prompt, _digest(common | {"baked": read, "name": name}), name))
    return trials


def run_here(job: ProbeJob, trials: Sequence[Trial]) -> Iterator[tuple[Trial, list[Row]]]:
    """One after the other, with the model loaded once."""
    if not trials:
        return
    features = None if all(trial.baked for trial in trials) else load(job)
    for trial in trials:
        yield trial, rows_of(job, features, trial)


def load(job: ProbeJob) -> Features:
    """The model of a job, once its sets are known to hold its latents."""
    from diffusion_perception.features.reading import Features

    if job.task:
        check_same_vae(job.model, job.revision, [opened(job, url) for url in (job.train, job.test)])
    return Features.from_pretrained(job.model, revision=job.revision or None, device=job.device, dtype=job.dtype)


def rows_of(job: ProbeJob, features: Features | None, trial: Trial) -> list[Row]:
    """A trial's rows; of what is baked without a model."""
    if trial.baked:
        return probe_baked(job, trial.baked, trial.timestep, trial.prompt)
    assert features is not None
    if job.pairs:
        return probe_pairs(job, features, trial.timestep, trial.prompt, pairs_of(job).pairs())
    return probe_sets(job, features, trial.timestep, trial.prompt)


def _files_of(model: str) -> list[list[str | int]]:
    """Names, sizes and times of a model folder's files; of a hub id nothing: `revision` says which it is."""
    folder = Path(model)
    is_here = bool(model) and folder.is_dir()
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if is_here else []
    states = [(path, path.stat()) for path in files]
    return [[str(path.relative_to(folder)), state.st_size, state.st_mtime_ns] for path, state in states]


def _plain(job: ProbeJob) -> dict[str, Any]:
    return settings.to_plain(job)


def _finished(folder: Path, trial: Trial) -> list[Row] | None:
    path = _file(folder, trial)
    return [Row.from_json(said) for said in json.loads(path.read_bytes())] if path.is_file() else None


def _file(folder: Path, trial: Trial) -> Path:
    return folder / "trials" / f"{trial.digest}.json"


def _digest(said: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(said)).hexdigest()[:32]


def _json(said: Any) -> bytes:
    return json.dumps(said, indent=1, allow_nan=False).encode()
