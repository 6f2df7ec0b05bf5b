"""Configuration files as plain data: found, read as YAML, and overridden key by key.

Nothing here knows which settings exist; binding plain data to dataclasses is `binding`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from diffusion_perception.places import configuration_roots
from shards.errors import ConfigError, did_you_mean


def read_file(path: str | Path, overrides: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """A YAML file as plain data, with dotted overrides laid over it.

    A relative path is looked up from the working directory, then from the project or the installed package.

    Raises:
        ConfigError: no such file, not YAML, or an override that goes through something that is not a mapping.
    """
    places = [root / path for root in configuration_roots()]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        names = sorted({p.stem for place in places if place.parent.is_dir() for p in place.parent.glob("*.yaml")})
        raise ConfigError(
            f"no configuration file {path}.{did_you_mean(Path(path).stem, names)} "
            f"Files in {Path(path).parent}/: {', '.join(names) or 'none'}."
        )
    try:
        data = yaml.safe_load(found.read_text()) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{found}: not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{found}: expected settings as 'key: value', found {type(data).__name__}.")
    for key, text in overrides:
        lay_over(data, key, text)
    return data


def lay_over(data: dict[str, Any], dotted: str, text: str) -> None:
    """Set one dotted key of plain data to a value written as YAML.

    Raises:
        ConfigError: the key goes through something that is not a mapping, or the value is not YAML.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {dotted}={text}: not readable as YAML: {error}") from error
    *parents, last = dotted.split(".")
    for depth, name in enumerate(parents):
        node = data.setdefault(name, {})
        if not isinstance(node, dict):
            raise ConfigError(
                f"override {dotted}={value}: {'.'.join(parents[: depth + 1])} is {node!r}, which has no settings."
            )
        data = node
    # `source=ade20k` for a plug-in names it and drops the other one's options, which would not fit.
    if isinstance(data.get(last), dict) and "name" in data[last] and isinstance(value, str):
        value = data[last] if data[last]["name"] == value else {"name": value}
    data[last] = value
