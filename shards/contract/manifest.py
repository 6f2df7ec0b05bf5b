"""The manifest: the one file that says what a finished set is. Written last; a reader trusts nothing else.

It holds the recipe the set was built by and its fingerprint (sha256 of the canonical recipe), the schema, and
for every shard its counts, size and hashes. Two recipes are compared field by field, so that a refusal says
why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.schema import Schema
from shards.errors import CorruptShard, FingerprintMismatch, SchemaMismatch
from shards.storage.atomic import sha256_bytes
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, open_folder

VERSION = 1
MANIFEST_NAME = "manifest.json"
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


@dataclass(frozen=True)
class ShardEntry:
    """One finished shard: files `<name>.tar` and `<name>.idx`. `rejects` counts the examples left out of
    it.
    """

    name: str
    records: int
    items: int
    tar_bytes: int
    tar_sha256: str
    idx_sha256: str
    rejects: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data; `ShardEntry(**data)` is the inverse."""
        return asdict(self)


@dataclass(frozen=True)
class TableEntry:
    """One finished table: `tables/<name>.safetensors` (sha256) and `tables/<name>.json` (info_sha256)."""

    name: str
    sha256: str
    rows: int
    info_sha256: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a finished set is. `counts` has records, items, rejects and the row total of every axis."""

    name: str
    split: str
    recipe: dict[str, Any]
    fingerprint: str
    schema: Schema
    shards: tuple[ShardEntry, ...]
    counts: dict[str, int]
    tables: tuple[TableEntry, ...] = ()
    version: int = VERSION

    @staticmethod
    def load(url: str | Path | Folder, storage_options: StorageOptions | None = None) -> Manifest:
        """The manifest of the set at a folder path or URL. IncompleteSet if there is none."""
        folder = open_folder(url, storage_options=storage_options)
        return Manifest.parse(folder.read(MANIFEST_NAME), str(folder))

    @staticmethod
    def parse(payload: bytes, where: str) -> Manifest:
        """The manifest in `payload`. SchemaMismatch for another version, CorruptShard if it contradicts
        itself.
        """
        data = parse_json(payload, f"{where}/{MANIFEST_NAME}")
        found = data.get("version") if isinstance(data, dict) else None
        if found != VERSION:
            raise SchemaMismatch(
                f"{where}/{MANIFEST_NAME}: version is {found!r}, this code reads {VERSION}; rebuild the set"
            )
        try:
            manifest = Manifest(
                **{
                    **data,
                    "schema": Schema.from_json(data["schema"]),
                    "shards": tuple(ShardEntry(**shard) for shard in data["shards"]),
                    "tables": tuple(TableEntry(**table) for table in data["tables"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise SchemaMismatch(
                f"{where}/{MANIFEST_NAME}: entries do not fit version {VERSION} ({error!r})"
            ) from error
        manifest._check_itself(where)
        return manifest

    def to_bytes(self) -> bytes:
        """The file's bytes: sorted keys, indented for people."""
        data = {**asdict(self), "schema": self.schema.to_json()}
        return canonical_json(data, MANIFEST_NAME, indent=1) + b"\n"

    def write(self, root: Path | str | Folder) -> None:
        """Write `manifest.json` into `root`, a path or URL, in one step."""
        open_folder(root).write(MANIFEST_NAME, self.to_bytes())

    def check_fingerprint(self, recipe: Mapping[str, Any]) -> None:
        """FingerprintMismatch naming every differing field, unless the set was built by this recipe."""
        if fingerprint(recipe) != self.fingerprint:
            lines = "\n  ".join(recipe_difference(recipe, self.recipe, self.name))
            raise FingerprintMismatch(
                f"{self.name} was built by another recipe:\n  {lines}\n"
                "Build into a new set name, or restore these settings. Nothing was deleted."
            )

    def _check_itself(self, where: str) -> None:
        if fingerprint(self.recipe) != self.fingerprint:
            raise CorruptShard(
                f"{where}/{MANIFEST_NAME}: recipe and fingerprint disagree; the file was edited, restore it"
            )
        for count in ("records", "items", "rejects"):
            total = sum(getattr(shard, count) for shard in self.shards)
            if self.counts.get(count) != total:
                raise CorruptShard(
                    f"{where}/{MANIFEST_NAME}: counts.{count} is {self.counts.get(count)}, "
                    f"its shards sum to {total}; the file was edited, restore it"
                )


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
