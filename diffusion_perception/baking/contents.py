"""What a baked set is: a field for every layer, and the recipe that its fingerprint is of.

Owns the names of the fields, and what features depend on: the set, its bytes, the model's weights, the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from diffusion_perception.baking.forms import AXIS, ERRORS, SCALE, fields_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.features.of_sets import tars_sha256
from shards.contract.manifest import Manifest
from shards.contract.schema import META, Field, Schema
from shards.errors import ConfigError
from shards.reading.reader import StoredRecord

SETTINGS = ("layers", "timestep", "prompt", "noise", "ensemble", "seed", "batch_size", "dtype")


def field_of(layer: str) -> str:
    """The field of a layer: its name with `_` for `.`."""
    return layer.replace(".", "_").lower()


def field_names(job: BakeJob) -> dict[str, str]:
    """The field of every layer.

    Raises:
        ConfigError: two layers of one name, or one that has the name of another's scales.
    """
    named = {layer: field_of(layer) for layer in job.layers}
    for layer, name in named.items():
        if twice := [other for other in named if other != layer and named[other] == name]:
            raise ConfigError(f"layers {layer!r} and {twice[0]!r} would both be the field {name}: bake one of them.")
        if job.store in ERRORS and (taken := [other for other in named if named[other] == name + SCALE]):
            raise ConfigError(
                f"layer {taken[0]!r} would be the field {name + SCALE}, which holds the scales of {layer!r} in "
                f"{job.store}: bake one of them, or with store=float16."
            )
    return named


def schema_of(job: BakeJob, shapes: Mapping[str, tuple[int, ...]]) -> Schema:
    """The schema, from the stored shape `[C, h, w]` of every layer."""
    names = field_names(job)
    fields = chain.from_iterable(fields_of(job, layer, names[layer], shapes[layer]) for layer in job.layers)
    return Schema((*fields, Field(META, "json")), AXIS)


def meta_of(record: StoredRecord, n_views: int) -> dict[str, Any]:
    """Views as they are; items too where they are views, else one item for all of a picture's views."""
    of_views = record.shards.schema.item_axis == AXIS
    items = record.meta["items"] if of_views else [[0, n_views]]
    return {"items": items, "views": record.meta["views"]}


def identity_of(source: Manifest) -> dict[str, Any]:
    """Which set is baked, and the bytes that are read of it."""
    return {"set": source.name, "fingerprint": source.fingerprint, "tars_sha256": tars_sha256(source)}


def recipe_of(job: BakeJob, source: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of a baked set.

    Args:
        source: as `identity_of` says it.
        model: what is the model's own: its weights, and what its configuration makes of latents.
    """
    said: dict[str, Any] = {name: getattr(job, name) for name in SETTINGS}
    if job.pool > 1:  # no older set's recipe says it, nor the next
        said |= {"pool": job.pool, "cells": "equal parts of a map"}
    if job.pca:
        said["pca"] = job.pca
        if not job.pca_from:
            said["pca_records"] = job.pca_records
    if job.store != "float16":
        said["store"] = job.store
    if job.store in ERRORS:
        said["error"] = ERRORS[job.store]
    return {
        "source": {"name": "features", **source},
        "features": {**said, "layers": list(job.layers), **model},
    }
