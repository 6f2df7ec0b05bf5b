"""Reads the config.json of one part of a model where it lies: no library of models, no weights, no network.

Private to the encoders, which describe themselves by it. Where a part may lie is the same as for its weights
(`pipeline.encoders._loading`): a diffusers folder, a folder that is itself the part, or a hub id, which is looked up in
the local cache only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.errors import ConfigError

CONFIG = "config.json"


def part_config(what: str, model: str, subfolder: str, revision: str | None = None) -> Mapping[str, Any] | None:
    """The config of the part of `model` called `subfolder` in a diffusers layout; None for a hub id that is not cached.

    Raises:
        ConfigError: neither a folder with such a part nor a hub id, or a config that is not readable.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        path: Path | None = (folder / subfolder if (folder / subfolder).is_dir() else folder) / CONFIG
    elif is_hub_id(model):
        path = _cached(model, subfolder, revision)
    else:
        raise ConfigError(
            f"{what}: {'a file is' if folder.exists() else 'nothing is'} at {model!r}. Expected a diffusers folder "
            f"with {subfolder}/ inside, one that is itself the {subfolder}, or a hub id"
        )
    if path is None:
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{what}: no readable {CONFIG} of a {subfolder} at {path} ({error}). Expected a diffusers folder with "
            f"{subfolder}/ inside, or one that is itself the {subfolder}"
        ) from error
    return config if isinstance(config, Mapping) else {}


def number(what: str, model: str, config: Mapping[str, Any], name: str) -> int:
    """A whole number of a config. ConfigError if it has none: it belongs to another kind of model."""
    value = config.get(name)
    if not isinstance(value, int):
        raise ConfigError(
            f"{what}: the {CONFIG} of {model!r} says {name} = {value!r}, expected a whole number; it describes a "
            f"{config.get('_class_name') or config.get('model_type') or 'model of another kind'}"
        )
    return value


def is_hub_id(model: str) -> bool:
    return not model.startswith((".", "/", "~")) and model.count("/") <= 1


def _cached(model: str, subfolder: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        for name in (f"{subfolder}/{CONFIG}", CONFIG):
            if isinstance(found := try_to_load_from_cache(model, name, revision=revision), str):
                return Path(found)
    except HFValidationError as error:
        raise ConfigError(f"{model!r} is neither a folder here nor a hub id: {error}") from error
    return None
