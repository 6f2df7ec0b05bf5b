"""Reads the transformer of a diffusion model, complete or not at all. Where it lies is `shards.models.parts`'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers

from shards.models.parts import find_part
from vpd.backbones._loading import load_complete
from vpd.backbones.diffusion_transformer.facts import WHO, family_of


def load_transformer(model: str, revision: str | None = None) -> Any:
    """The transformer in float32, with every weight its config asks for.

    Raises:
        ConfigError: in the one form of `shards.models.parts`, when no transformer is there or it does not load; or the
            weights do not fit the config.
    """
    part = find_part(WHO, model, "transformer", revision)
    return load_complete(part, class_of(part.config()).from_pretrained)


def transformer_config(model: str, revision: str | None = None) -> dict[str, Any]:
    """The diffusers config of a model's transformer, its `_class_name` included. ConfigError as of the other."""
    config = find_part(WHO, model, "transformer", revision, weights=False).config()
    return {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}


def class_of(config: Mapping[str, Any]) -> Any:
    """The class of diffusers that a config names; ConfigError for one of no family here."""
    family_of(config)
    return getattr(diffusers, config["_class_name"])
