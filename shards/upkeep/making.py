"""A new set made of finished ones: where it may be written, and the facts its card repeats.

Its recipe is `shards.contract.parts`', which records it has `merging`'s and `splitting`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import MANIFEST_NAME, recipe_difference
from shards.errors import ConfigError
from shards.storage.storage import Folder
from shards.writing.card import facts_in
from shards.writing.writer import BUILD_FOLDER

BETWEEN = "; "  # what the cards of several sets say differently
PLAN = f"{BUILD_FOLDER}/made.json"  # removed with its folder when the set is sealed


def begin(target: Folder, recipe: Mapping[str, Any]) -> None:
    """Take a place for a new set, or go on with one that was interrupted.

    Raises:
        ConfigError: something else is there, or nothing can be written there.
    """
    target.check_writable()
    plan = canonical_json(dict(recipe), PLAN)
    if target.exists(MANIFEST_NAME):
        raise ConfigError(f"{target} holds a set; give another place. Nothing was changed.")
    begun = target.read(PLAN) if target.exists(PLAN) else None
    if begun != plan and (begun or target.exists(f"{BUILD_FOLDER}/recipe.json") or target.names("*.tar")):
        found = recipe_difference(parse_json(plan, PLAN), parse_json(begun, PLAN), "what was begun") if begun else []
        apart = "".join(f"\n  {line}" for line in found)
        raise ConfigError(f"{target} holds shards of something else; give another place. Nothing was changed.{apart}")
    target.sweep()
    target.write(PLAN, plan)


def facts_of(folders: Sequence[Folder]) -> dict[str, str]:
    """What the cards of some sets say of their sources; where they say different things, all of it."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        for name, value in facts_in(folder.read("README.md").decode()).items():
            found.setdefault(name, []).append(value)
    return {name: BETWEEN.join(dict.fromkeys(values)) for name, values in found.items()}
