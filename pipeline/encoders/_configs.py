"""Numbers in the config.json of a part of a model, for encoders that describe themselves by it.

Private to the encoders. Where the file lies is `shards.models.parts`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shards.errors import ConfigError
from shards.models.forms import CONFIG


def number(what: str, model: str, config: Mapping[str, Any], name: str) -> int:
    """A whole number of a config. ConfigError if it has none: it belongs to another kind of model."""
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"{what}: the {CONFIG} of {model!r} says {name} = {value!r}, expected a whole number; it describes a "
            f"{config.get('_class_name') or config.get('model_type') or 'model of another kind'}"
        )
    return value
