"""What is already done in a set folder that is still being built: `<set>/_build/`.

    _build/recipe.json      the recipe the folder was started with; another one is refused
    _build/<shard>.json     one per finished shard, written in one step after its tar has its final name

Owns these files and nothing else: shards and the manifest are `shards.writing.writer`'s. The folder disappears when the
set is finished, because the manifest then says everything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import MANIFEST_NAME, Manifest, ShardEntry, fingerprint, recipe_difference
from shards.errors import CorruptShard, FingerprintMismatch, IncompleteSet
from shards.storage.storage import Folder, open_folder
from shards.writing.writer import BUILD_FOLDER

_RECIPE = f"{BUILD_FOLDER}/recipe.json"

Place = Path | str | Folder  # of a set: a path, a URL, or a folder that was opened with options


@dataclass(frozen=True)
class Rejected:
    """One example that is not in the set, and why; or, if not `whole`, one entry of an example that is in it."""

    key: str
    reason: str
    whole: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain data; `Rejected(**data)` is the inverse."""
        return {"key": self.key, "reason": self.reason} | ({} if self.whole else {"whole": False})


@dataclass(frozen=True)
class FinishedShard:
    """What building one shard came to. `shard` is None where every one of its examples was rejected; `cut_sentences` is
    how many have more tokens than are stored."""

    name: str
    keys_sha256: str
    shard: ShardEntry | None
    rejects: tuple[Rejected, ...]
    cut_sentences: int = 0

    @property
    def examples_rejected(self) -> int:
        return sum(reject.whole for reject in self.rejects)


def open_build(place: Place, recipe: Mapping[str, Any]) -> Manifest | None:
    """Prepares a set's folder, at a path or URL, for building by `recipe`; call it once, before any worker starts.

    Returns the manifest if the set is already finished, None if there is something to do. Raises FingerprintMismatch,
    field by field, if the folder was built or begun by another recipe, and IncompleteSet if it holds shards of
    unknown origin.
    """
    folder = open_folder(place)
    manifest = read_manifest(folder)
    if manifest is not None:
        manifest.check_fingerprint(recipe)
        remove_ledger(folder)  # a build may have been killed between its manifest and this
        folder.sweep()
        return manifest
    if folder.exists(_RECIPE):
        begun = parse_json(folder.read(_RECIPE), f"{folder}/{_RECIPE}")
        if fingerprint(begun) != fingerprint(recipe):
            lines = "\n  ".join(recipe_difference(json.loads(canonical_json(recipe)), begun, folder.name))
            raise FingerprintMismatch(
                f"{folder} holds an unfinished build by another recipe:\n  {lines}\n"
                "Restore these settings to continue it, or build into another set name. Nothing was deleted."
            )
    elif strangers := folder.names("*.tar"):
        raise IncompleteSet(
            f"{folder} holds {len(strangers)} shards, such as {strangers[0]}, but neither {MANIFEST_NAME} nor "
            f"{_RECIPE} to say where they are from. Move them away, or build into another set name"
        )
    else:
        folder.write(_RECIPE, canonical_json(dict(recipe), "recipe", indent=1) + b"\n")
    folder.sweep()
    return None


def recipe_in(place: Place) -> dict[str, Any] | None:
    """The recipe a folder was built by, or begun with; None for a new one. Nothing is changed."""
    folder = open_folder(place)
    manifest = read_manifest(folder)
    if manifest is not None:
        return manifest.recipe
    return parse_json(folder.read(_RECIPE), f"{folder}/{_RECIPE}") if folder.exists(_RECIPE) else None


def remove_ledger(place: Place) -> None:
    """Removes the ledger of a set whose manifest says everything."""
    open_folder(place).remove_folder(BUILD_FOLDER)


def read_manifest(place: Place) -> Manifest | None:
    folder = open_folder(place)
    return Manifest.load(folder) if folder.exists(MANIFEST_NAME) else None


def write_finished(place: Place, finished: FinishedShard) -> None:
    content = {
        "keys_sha256": finished.keys_sha256,
        "shard": None if finished.shard is None else finished.shard.to_json(),
        "rejects": [reject.to_json() for reject in finished.rejects],
        "cut_sentences": finished.cut_sentences,
    }
    open_folder(place).write(_entry(finished.name), canonical_json(content, _entry(finished.name)))


def read_finished(place: Place, name: str) -> FinishedShard | None:
    """None if the shard is not finished. Raises CorruptShard for a record that cannot be understood."""
    folder = open_folder(place)
    path = f"{folder}/{_entry(name)}"
    try:
        content = parse_json(folder.read(_entry(name)), path)
    except IncompleteSet:
        return None
    try:
        shard = None if content["shard"] is None else ShardEntry(**content["shard"])
        rejects = tuple(Rejected(**reject) for reject in content["rejects"])
        return FinishedShard(name, content["keys_sha256"], shard, rejects, content.get("cut_sentences", 0))
    except (KeyError, TypeError) as error:
        raise CorruptShard(f"{path} does not record a finished shard ({error!r}); delete it to rebuild") from error


def _entry(name: str) -> str:
    return f"{BUILD_FOLDER}/{name}.json"
