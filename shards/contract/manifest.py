"""The manifest: the one file that says what a finished set is. Written last; a reader trusts nothing else.

It holds the recipe the set was built by and its fingerprint (sha256 of the canonical recipe), the schema, for every
shard its counts, size and hashes, hashes of the other files, and one of itself. Two recipes are compared field by
field, so that a refusal says why. Entries of single files are `shards.contract.entries`'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.entries import ShardEntry, TableEntry, check_sha256
from shards.contract.schema import Schema
from shards.contract.shard_list import ShardList, are_distinct
from shards.errors import ContractError, CorruptShard, FingerprintMismatch, SchemaMismatch
from shards.storage.atomic import sha256_bytes
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, open_folder

VERSION = 1
MANIFEST_NAME = "manifest.json"
_SELF = "sha256"  # key of the manifest's hash of itself
_OPTIONAL = {"files": {}, _SELF: ""}
_FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_SHOWN_CHARACTERS = 80

T = TypeVar("T")


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
class Manifest:
    """What a finished set is. `counts` has records, items, rejects and the row total of every axis, `files` the sha256
    of what lies beside the shards: empty in sets written before it was recorded.
    """

    name: str
    split: str
    recipe: dict[str, Any]
    fingerprint: str
    schema: Schema
    shards: Sequence[ShardEntry]
    counts: dict[str, int]
    tables: tuple[TableEntry, ...] = ()
    version: int = VERSION
    files: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load(url: str | Path | Folder, storage_options: StorageOptions | None = None) -> Manifest:
        """The manifest of the set at a folder path or URL. IncompleteSet if there is none."""
        folder = open_folder(url, storage_options=storage_options)
        return Manifest.parse(folder.read(MANIFEST_NAME), str(folder))

    @staticmethod
    def parse(payload: bytes, where: str) -> Manifest:
        """The manifest in `payload`. SchemaMismatch for another version or other entries, CorruptShard if it
        contradicts itself or its own hash.
        """
        manifest, faults = examine(payload, where)
        if faults or manifest is None:
            raise faults[0]
        return manifest

    def to_bytes(self) -> bytes:
        """The file's bytes: sorted keys, indented for people."""
        data = asdict(replace(self, shards=())) | {"schema": self.schema.to_json()}
        data["shards"] = [shard.to_json() for shard in self.shards]
        if not self.files:
            del data["files"]
        return canonical_json({**data, _SELF: _sha256_of(data)}, MANIFEST_NAME, indent=1) + b"\n"

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

    def _contradictions(self) -> Iterator[str]:
        if fingerprint(self.recipe) != self.fingerprint:
            yield "recipe and fingerprint disagree"
        for count in ("records", "items", "rejects"):
            total = _total(self.shards, count)
            if self.counts.get(count) != total:
                yield f"counts.{count} is {self.counts.get(count)}, its shards sum to {total}"
        tables = {entry.name for entry in self.tables}
        if not are_distinct(self.shards):
            yield "it names a shard twice"
        if len(tables) != len(self.tables):
            yield "it names a table twice"


def examine(payload: bytes, where: str) -> tuple[Manifest | None, list[ContractError]]:
    """(what of a manifest can be read, everything that is wrong with it): without the entries that are wrong, and None
    where not even the shards can be told. For who wants to know all faults; others use `Manifest.parse`.
    """
    at = f"{where}/{MANIFEST_NAME}"
    faults: list[ContractError] = []

    def tried(make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except SchemaMismatch as error:
            faults.append(error)
            return otherwise

    written = tried(lambda: _known_keys(parse_json(payload, at), at), {})
    data = {**_OPTIONAL, **written}
    schema = tried(lambda: Schema.from_json(data["schema"]), None) if written else None
    if schema is None:
        return None, faults
    form = f"{at}: entries do not fit version {VERSION}: "
    shards = ShardList.parsed(data["shards"])
    if shards is None:  # something is wrong, or unusual: one by one
        found = [
            tried(lambda entry=entry, place=place: ShardEntry.from_json(entry, f"{form}shard {place}"), None)
            for place, entry in enumerate(tried(lambda: _a(list, data, "shards", form), []))
        ]
        shards = tuple(shard for shard in found if shard is not None)
    tables = [
        tried(lambda entry=entry, place=place: TableEntry.from_json(entry, f"{form}table {place}"), None)
        for place, entry in enumerate(tried(lambda: _a(list, data, "tables", form), []))
    ]
    manifest = Manifest(
        name=tried(lambda: _a(str, data, "name", form), ""),
        split=tried(lambda: _a(str, data, "split", form), ""),
        recipe=tried(lambda: _a(dict, data, "recipe", form), {}),
        fingerprint=tried(lambda: _a(str, data, "fingerprint", form), ""),
        schema=schema,
        shards=shards,
        counts=tried(lambda: _counts(data, form), {}),
        tables=tuple(table for table in tables if table is not None),
        files=tried(lambda: _files(data, form), {}),
    )
    if not faults:
        try:
            faults += [
                CorruptShard(f"{at}: {fault}; the file was edited, restore it") for fault in manifest._contradictions()
            ]
            recorded = data[_SELF]
            values = {key: value for key, value in written.items() if key != _SELF}
            found = recorded if _is_quickly(recorded, values) else _sha256_of(values, is_parsed=True)
        except SchemaMismatch as error:  # nested deeper than it can be written again
            return manifest, [error]
        if recorded and recorded != found:
            faults.append(
                CorruptShard(
                    f"{at}: sha256 of its values is {found[:12]}…, it records {recorded!r:.14}…; the file was edited "
                    "or damaged: restore it"
                )
            )
    return manifest, faults


def unrecorded(payload: bytes) -> list[str]:
    """What a sound manifest carries no hash of, as sets did that were written before it could."""
    data = parse_json(payload, MANIFEST_NAME)
    values = "its own values that nothing else repeats (name, split, unit, letters of shapes)"
    others = "README.md, wids.json and the text of rejects.jsonl"
    return [what for key, what in ((_SELF, values), ("files", others)) if not data.get(key)]


def _sha256_of(data: Mapping[str, Any], *, is_parsed: bool = False) -> str:
    """Of a manifest's values: spaces and line ends do not enter."""
    return sha256_bytes(canonical_json(data, MANIFEST_NAME, is_parsed=is_parsed))


def _is_quickly(recorded: Any, data: Mapping[str, Any]) -> bool:
    """Whether a manifest's values have a hash, told ten times as fast as by `_sha256_of`; False where it cannot be: a
    float may be spelled in several ways."""
    try:
        return recorded == sha256_bytes(orjson.dumps(data, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError:  # nested deeply
        return False


def _total(shards: Sequence[ShardEntry], count: str) -> int:
    if isinstance(shards, ShardList):
        return int(shards.numbers(count).sum())
    return sum(getattr(shard, count) for shard in shards)


def _known_keys(data: Any, at: str) -> dict[str, Any]:
    found = data.get("version") if isinstance(data, dict) else None
    if type(found) is not int or found != VERSION:
        raise SchemaMismatch(f"{at}: version is {found!r:.80}, this code reads {VERSION}; rebuild the set")
    required = Manifest.__dataclass_fields__.keys() - _OPTIONAL.keys()
    if data.keys() - _OPTIONAL.keys() != required:
        raise SchemaMismatch(
            f"{at}: entries do not fit version {VERSION}: keys that are missing {sorted(required - data.keys())}, that "
            f"nobody knows {str(sorted(data.keys() - required - _OPTIONAL.keys()))[:80]}"
        )
    return data


def _a(kind: type[T], data: Mapping[str, Any], key: str, form: str) -> T:
    if not isinstance(data[key], kind):
        raise SchemaMismatch(f"{form}{key} is {type(data[key]).__name__}, expected {kind.__name__}")
    return data[key]


def _counts(data: Mapping[str, Any], form: str) -> dict[str, int]:
    counts = _a(dict, data, "counts", form)
    for name, count in counts.items():
        if type(count) is not int or count < 0:
            raise SchemaMismatch(f"{form}counts.{name} is {count!r:.80}, expected a whole number")
    return counts


def _files(data: Mapping[str, Any], form: str) -> dict[str, str]:
    files = _a(dict, data, "files", form)
    for name, sha256 in files.items():
        if not _FILE_NAME.fullmatch(name):
            raise SchemaMismatch(f"{form}files names {name!r:.80}, which is no file of the folder itself")
        check_sha256(sha256, f"{form}files.{name}")
    return files


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
