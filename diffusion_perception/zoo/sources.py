"""Weights, blueprint and facts of what is published: a run's checkpoint, or a model folder.

Owns the precision in which weights are published. A run's averaged weights are taken where it has them, as evaluation
does (`vpd.training.resume`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from diffusion_perception.blueprints import assembled
from diffusion_perception.conversion import beyond, blueprint_of_run
from diffusion_perception.zoo.record import Record, read_record, record_of_run
from shards.errors import ConfigError
from vpd.exchange.digests import check_digests
from vpd.exchange.pretrained import MODEL, UNET_REST, load_weights, read_blueprint
from vpd.exchange.report import Report, check_fit

if TYPE_CHECKING:
    from pathlib import Path

    from vpd.exchange.pretrained import Blueprint

Weights = dict[str, torch.Tensor]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Source:
    """What is published.

    Attributes:
        home: the model folder that "./" of an encoder's model means; empty for a run.
        recipe: of the training set, whose encoders the published ones must be; empty: not known.
    """

    weights: Weights
    rest: Weights
    blueprint: Blueprint
    record: Record
    home: str = ""
    recipe: Mapping[str, Any] | None = None


def source_of_run(place: str, which: str) -> Source:
    """A run's checkpoint.

    Raises:
        ConfigError: no finished checkpoint, or the model the run began with is not at hand.
        SchemaMismatch: the weights are not those of the run's configuration.
    """
    from diffusion_perception.trained import saved_run
    from vpd.exchange.importing.folders import unet_rest
    from vpd.exchange.importing.official import LEFT_OUT
    from vpd.training.checkpoints.checkpoint import CheckpointStore
    from vpd.training.resume import final_weights

    checkpoint, job, state = saved_run(place, which)
    weights, averaged = final_weights(CheckpointStore(place), checkpoint, job.model)
    blueprint = blueprint_of_run(job, state, weights)
    try:
        rest = beyond(unet_rest(str(job.backbone.get("model", "")), tuple(LEFT_OUT)), weights)
    except ConfigError:  # for other programs alone: a prediction does without
        rest = {}
    blueprint = replace(blueprint, origin={**blueprint.origin, "averaged": averaged})
    _check(weights, blueprint, checkpoint.path)
    record = record_of_run(place, checkpoint, job, state, averaged)
    return Source(weights, rest, blueprint, record, recipe=state.get("recipe"))


def source_of_model(folder: Path) -> Source:
    """A model folder, converted or published.

    Raises:
        ConfigError, SchemaMismatch, CorruptCheckpoint: it cannot be read, or is not whole.
    """
    check_digests(folder)
    weights, blueprint = load_weights(folder), read_blueprint(folder)
    rest = load_weights(folder, UNET_REST) if (folder / UNET_REST).is_file() else {}
    _check(weights, blueprint, str(folder / MODEL))
    record = read_record(folder) or Record(origin=dict(blueprint.origin))
    return Source(weights, rest, blueprint, record, home=str(folder))


def in_precision(source: Source, dtype: str) -> tuple[Weights, Weights]:
    """Weights and rest as they are published: parameters in `dtype`; running statistics and class tables as they are.

    Raises:
        ConfigError: one of them is not finite in it.
    """
    parameters = {name for name, _ in assembled(source.blueprint).named_parameters()}
    weights = {name: value.to(DTYPES[dtype]) if name in parameters else value for name, value in source.weights.items()}
    rest = {name: value.to(DTYPES[dtype]) for name, value in source.rest.items()}
    bad = [name for name, value in (weights | rest).items() if not torch.isfinite(value).all()]
    if bad:
        raise ConfigError(
            f"dtype={dtype}: {len(bad)} weights are not finite in it, such as {min(bad)}. Where they are in the "
            "checkpoint, publish in bfloat16 or float32."
        )
    return weights, rest


def _check(weights: Weights, blueprint: Blueprint, where: str) -> None:
    expected = {name: value.shape for name, value in assembled(blueprint).state_dict().items()}
    check_fit(Report(where, "of its configuration"), weights, expected)
