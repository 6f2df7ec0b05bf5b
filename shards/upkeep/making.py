"""A new set made of finished ones: where it may be written, its recipe, and the facts its card repeats.

The recipe is that of the sets it is made of, with a `part` that names its records: a set of other records is another
one, which neither a build nor a training may take for the whole. Which records those are is `merging`'s and
`splitting`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from shards.contract.canonical import canonical_json
from shards.contract.manifest import MANIFEST_NAME, fingerprint
from shards.errors import ConfigError
from shards.storage.storage import Folder
from shards.writing.card import facts_in
from shards.writing.writer import BUILD_FOLDER

PART = "part"
BETWEEN = "; "  # what the cards of several sets say differently
_PLAN = f"{BUILD_FOLDER}/made.json"  # removed with its folder when the set is sealed


def whole(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without what says that a set is a part."""
    return {name: value for name, value in recipe.items() if name != PART}


def recipe_of(recipe: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The recipe of a set of these records, in this order, that were built by `recipe`."""
    base = whole(recipe)
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    return {**base, PART: {"of": fingerprint(base), "records": len(keys), "keys_sha256": digest}}


def begin(target: Folder, recipe: Mapping[str, Any]) -> None:
    """Take a place for a new set, or go on with one that was interrupted.

    Raises:
        ConfigError: something else is there, or nothing can be written there.
    """
    target.check_writable()
    plan = canonical_json(dict(recipe), _PLAN)
    if target.exists(MANIFEST_NAME):
        raise ConfigError(f"{target} holds a set; give another place. Nothing was changed.")
    begun = target.read(_PLAN) if target.exists(_PLAN) else None
    if begun != plan and (begun or target.exists(f"{BUILD_FOLDER}/recipe.json") or target.names("*.tar")):
        raise ConfigError(f"{target} holds shards of something else; give another place. Nothing was changed.")
    target.sweep()
    target.write(_PLAN, plan)


def facts_of(folders: Sequence[Folder]) -> dict[str, str]:
    """What the cards of some sets say of their sources; where they say different things, all of it."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        for name, value in facts_in(folder.read("README.md").decode()).items():
            found.setdefault(name, []).append(value)
    return {name: BETWEEN.join(dict.fromkeys(values)) for name, values in found.items()}
