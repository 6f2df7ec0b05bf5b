"""What determined the bytes of a set: the fingerprint of a recipe, and what two of them differ in, field by field, so
that a refusal says why. What a recipe holds is the build's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shards.contract.canonical import canonical_json
from shards.storage.atomic import sha256_bytes

_SHOWN_CHARACTERS = 80


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON of a recipe."""
    return sha256_bytes(canonical_json(recipe, "recipe"))


def recipe_difference(here: Mapping[str, Any], there: Mapping[str, Any], name: str = "the set") -> list[str]:
    """One line for every leaf that differs, e.g. `encoder.vae.weights: 'ab12' here, 'cd34' in <name>`; [] if
    equal.
    """
    mine, theirs = _leaves(here, ""), _leaves(there, "")
    paths = sorted(path for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path))
    pairs = [(path, mine.get(path, "absent"), theirs.get(path, "absent")) for path in paths]
    return [f"{path}: {my_value} here, {their_value} in {name}" for path, my_value, their_value in pairs]


def _leaves(value: Any, path: str) -> dict[str, str]:
    """Dotted path -> shown value, for every leaf of a tree of mappings and lists."""
    if isinstance(value, Mapping) and value:
        parts = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
        parts = [(str(index), inner) for index, inner in enumerate(value)]
    else:
        return {path: _shown(value)}
    found: dict[str, str] = {}
    for key, inner in parts:
        found |= _leaves(inner, f"{path}.{key}" if path else key)
    return found


def _shown(value: Any) -> str:
    """The value as text; of a long one its beginning and a hash, so that two that differ look different."""
    text = repr([] if value == () else value)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}… ({sha256_bytes(text.encode())[:8]})"
