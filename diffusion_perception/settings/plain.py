"""Settings back to plain data, as YAML, and with single settings changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


def key_of(field: dataclasses.Field[Any]) -> str:
    """The setting of a field: its name, unless its metadata has a `key`, for a word that Python keeps for itself."""
    return field.metadata.get("key", field.name)


def to_plain(settings: Any) -> Any:
    """Dataclasses back to data that YAML and JSON can hold."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {key_of(f): to_plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    if isinstance(settings, Mapping):
        return {k: to_plain(v) for k, v in settings.items()}
    if isinstance(settings, PurePath):
        return str(settings)
    return [to_plain(v) for v in settings] if isinstance(settings, (list, tuple)) else settings


def spelled_out(settings: Any) -> str:
    """The resolved configuration as YAML, as printed at the start of a job."""
    return yaml.safe_dump(to_plain(settings), sort_keys=False, width=110)


def replaced(settings: T, values: Mapping[str, Any]) -> T:
    """A copy of nested dataclasses with some dotted settings changed."""
    for dotted, value in values.items():
        name, _, rest = dotted.partition(".")
        inner = replaced(getattr(settings, name), {rest: value}) if rest else value
        settings = dataclasses.replace(settings, **{name: inner})  # type: ignore[type-var]
    return settings
