"""What was trained, with what, on what, and how it scored: `training.json` of a published model.

Owns what of a run's state may be told to everybody: no path and no URL of the machine it was trained on. For people,
`card` says the same in words.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.stocktaking.leave import datasets_in
from shards.contract.manifest import Manifest
from shards.errors import ConfigError, ContractError
from shards.models.hub import is_hub_id
from shards.storage.storage import open_folder

if TYPE_CHECKING:
    from diffusion_perception.train_job import TrainJob
    from vpd.training.checkpoints.checkpoint import Checkpoint

RECORD = "training.json"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """The scores on one set."""

    set: str
    fingerprint: str  # of the set; empty: not known
    values: Mapping[str, float]
    whole: bool = True  # False: on some of its records


@dataclass(frozen=True)
class Record:
    """All of it. A model that was not trained here has `origin` alone."""

    run: str = ""
    step: int = 0
    averaged: bool = False
    base: str = ""  # hub id of the model the run began with, or the name of its folder
    train_set: str = ""
    fingerprint: str = ""  # of the training set
    datasets: Sequence[str] = ()  # known by their names here
    settings: Json = field(default_factory=dict)  # of the run, in force
    scores: Sequence[Score] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    origin: Json = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"
        (folder / RECORD).write_text(text, encoding="utf-8")


def read_record(folder: str | Path) -> Record | None:
    """Of a published model; None where nothing of that name is.

    Raises:
        ConfigError: it is not one.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{**data, "scores": tuple(Score(**score) for score in data["scores"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path}: not the record of a published model ({error}). Take it away, or publish the run again."
        ) from error


def record_of_run(place: str, checkpoint: Checkpoint, job: TrainJob, state: Json, averaged: bool) -> Record:
    """Of a run's checkpoint; sets that are out of reach are named without a fingerprint."""
    from diffusion_perception.changed_settings import in_force

    return Record(
        run=job.run.name,
        step=checkpoint.step,
        averaged=averaged,
        base=shown_model(str(job.backbone.get("model", ""))),
        train_set=str(state["train_set"]),
        fingerprint=str(state.get("fingerprint", "")),
        datasets=sorted(datasets_in(state.get("recipe") or {})),
        settings={path: without_places(value) for path, value in in_force(state["config"]).items()},
        scores=tuple(_scores(place, checkpoint, job)),
        environment=dict(state.get("environment", {})),
    )


def shown_model(model: str) -> str:
    """A model as everybody may read it: its hub id, or the last part of its path."""
    return model if is_hub_id(model) and not Path(os.path.expanduser(model)).exists() else _last(model)


def without_places(value: Any) -> Any:
    """Plain data with every absolute path and URL cut to its last part."""
    if isinstance(value, Mapping):
        return {key: without_places(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(inner) for inner in value]
    if isinstance(value, str) and ("://" in value or value.startswith(("/", "~"))):
        return _last(value)
    return value


def _last(place: str) -> str:
    return place.rstrip("/").rpartition("/")[2]


def _scores(place: str, checkpoint: Checkpoint, job: TrainJob) -> list[Score]:
    """Of `evaluate` at this very step, and of the validation that the checkpoint was saved with."""
    folder, name = open_folder(place, storage_options=job.data.storage if "://" in place else None), ""
    found: dict[str, Score] = {}
    if checkpoint.metrics and job.data.val:
        name, fingerprint = _last(job.data.val), ""
        try:
            manifest = Manifest.load(open_folder(job.data.val, storage_options=job.data.storage))
            name, fingerprint = manifest.name, manifest.fingerprint
        except (ContractError, OSError):  # moved since, or on another machine
            pass
        whole = job.data.val_subset == type(job.data.val_subset)()
        found[name] = Score(name, fingerprint if whole else "", _finite(checkpoint.metrics), whole)
    file = f"evaluation-step-{checkpoint.step}.json"
    if folder.exists(file):
        try:
            written = json.loads(folder.read(file))
            prints, whole = written.get("fingerprints", {}), not written.get("limit")
            for name, values in written["sets"].items():
                if whole or name not in found:
                    found[name] = Score(name, str(prints.get(name, "")) if whole else "", _finite(values), whole)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{place}/{file}: is not what `evaluate` writes ({type(error).__name__}: {error}). Take it away, or "
                "evaluate again."
            ) from error
    return list(found.values())


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
