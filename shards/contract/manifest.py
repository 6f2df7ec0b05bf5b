"""The manifest: the one file that says what a finished set is. Written last; a reader trusts nothing else.

It holds the recipe the set was built by and its fingerprint (sha256 of the canonical recipe), the schema, for every
shard its counts, size and hashes, hashes of the other files, and one of itself. Of a large set (version 2) files beside
it list the shards, and it has the hashes of those (`shards.contract.shard_pages`). Entries of single files are
`shards.contract.entries`', what two recipes differ in `shards.contract.recipes`'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from shards.contract import shard_pages
from shards.contract.canonical import canonical_json, parse_json
from shards.contract.entries import ShardEntry, TableEntry, check_sha256
from shards.contract.paged_shards import PagedShards, Read
from shards.contract.recipes import fingerprint, recipe_difference
from shards.contract.schema import Schema
from shards.contract.shard_list import ShardList, are_distinct, numbers_of
from shards.contract.shard_pages import PageList
from shards.errors import ContractError, CorruptShard, FingerprintMismatch, IncompleteSet, SchemaMismatch
from shards.storage.atomic import sha256_bytes
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, open_folder

VERSIONS = (LISTED, PAGED) = (1, 2)  # of the format: shards are listed in the manifest, or in pages beside it
MANIFEST_NAME = "manifest.json"
_SELF = "sha256"  # key of the manifest's hash of itself
_OPTIONAL = {"files": {}, _SELF: ""}
_FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """What a finished set is. `counts` has records, items, rejects and the row total of every axis, `files` the sha256
    of what lies beside the shards: empty in sets written before it was recorded. `version` is that of the format
    (`version_for`).
    """

    name: str
    split: str
    recipe: dict[str, Any]
    fingerprint: str
    schema: Schema
    shards: Sequence[ShardEntry]
    counts: dict[str, int]
    tables: tuple[TableEntry, ...] = ()
    version: int = LISTED
    files: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load(url: str | Path | Folder, storage_options: StorageOptions | None = None) -> Manifest:
        """The manifest of the set at a folder path or URL. IncompleteSet if there is none."""
        folder = open_folder(url, storage_options=storage_options)
        return Manifest.parse(folder.read(MANIFEST_NAME), str(folder), folder.read)

    @staticmethod
    def parse(payload: bytes, where: str, read: Read | None = None) -> Manifest:
        """The manifest in `payload`; `read` gives files beside it, without which one whose shards they list cannot be
        had. SchemaMismatch for another version or other entries, CorruptShard if it contradicts itself or its own hash.
        """
        manifest, faults = _examined(payload, where, read, whole=False)
        if faults or manifest is None:
            raise faults[0]
        return manifest

    def to_bytes(self) -> bytes:
        """The file's bytes: sorted keys, indented for people."""
        if self.version == LISTED:
            return self._bytes([shard.to_json() for shard in self.shards])
        listed = self.shards.listed if isinstance(self.shards, PagedShards) else shard_pages.encoded(self.shards)[0]
        return self._bytes(listed.to_json())

    def write(self, root: Path | str | Folder) -> None:
        """Write `manifest.json` into `root`, a path or URL, in one step; before it the files that list the shards, if
        they are to."""
        folder = open_folder(root)
        if self.version == LISTED:
            payload, files = self.to_bytes(), {}
        else:
            listed, files = shard_pages.encoded(self.shards)
            payload = self._bytes(listed.to_json())
        shard_pages.write_files(folder, files)
        folder.write(MANIFEST_NAME, payload)

    def check_fingerprint(self, recipe: Mapping[str, Any]) -> None:
        """FingerprintMismatch naming every differing field, unless the set was built by this recipe."""
        if fingerprint(recipe) != self.fingerprint:
            lines = "\n  ".join(recipe_difference(recipe, self.recipe, self.name))
            raise FingerprintMismatch(
                f"{self.name} was built by another recipe:\n  {lines}\n"
                "Build into a new set name, or restore these settings. Nothing was deleted."
            )

    def _bytes(self, shards: Any) -> bytes:
        data = asdict(replace(self, shards=())) | {"schema": self.schema.to_json(), "shards": shards}
        if not self.files:
            del data["files"]
        return canonical_json({**data, _SELF: _sha256_of(data)}, MANIFEST_NAME, indent=1) + b"\n"

    def _contradictions(self) -> Iterator[str]:
        if fingerprint(self.recipe) != self.fingerprint:
            yield "recipe and fingerprint disagree"
        for count in ("records", "items", "rejects"):
            total = int(numbers_of(self.shards, count).sum())
            if self.counts.get(count) != total:
                yield f"counts.{count} is {self.counts.get(count)}, its shards sum to {total}"
        tables = {entry.name for entry in self.tables}
        if not are_distinct(self.shards):
            yield "it names a shard twice"
        if len(tables) != len(self.tables):
            yield "it names a table twice"


def version_for(n_shards: int) -> int:
    """The version of the format that a set of so many shards is written in."""
    return LISTED if n_shards <= shard_pages.LISTED_SHARDS else PAGED


def examine(payload: bytes, where: str, read: Read | None = None) -> tuple[Manifest | None, list[ContractError]]:
    """(what of a manifest can be read, everything that is wrong with it): without the entries that are wrong, and None
    where not even the shards can be told. For who wants to know all faults; others use `Manifest.parse`.
    """
    return _examined(payload, where, read, whole=True)


def files_that_list(payload: bytes, where: str) -> dict[str, str]:
    """sha256, by name, of the files that list the shards of the manifest in `payload`: none of most sets. Of a manifest
    that is sound but for these; SchemaMismatch or CorruptShard."""
    data = parse_json(payload, where)
    if not isinstance(data, dict) or data.get("version") != PAGED:
        Manifest.parse(payload, where)
        return {}
    listed = PageList.from_json(_known_keys(data, where)["shards"], f"{where}: ")
    recorded = data.get(_SELF)
    if recorded != (found := _sha256_of({key: value for key, value in data.items() if key != _SELF}, is_parsed=True)):
        raise _other_hash(f"{where}/{MANIFEST_NAME}", found, recorded)
    return listed.files()


def _examined(
    payload: bytes, where: str, read: Read | None, *, whole: bool
) -> tuple[Manifest | None, list[ContractError]]:
    """As `examine`; unless `whole`, pages that list shards are left to whoever asks for one."""
    at = f"{where}/{MANIFEST_NAME}"
    faults: list[ContractError] = []

    def tried(make: Callable[[], T], otherwise: T) -> T:
        try:
            return make()
        except (SchemaMismatch, CorruptShard, IncompleteSet) as error:
            faults.append(error)
            return otherwise

    written = tried(lambda: _known_keys(parse_json(payload, at), at), {})
    data = {**_OPTIONAL, **written}
    schema = tried(lambda: Schema.from_json(data["schema"]), None) if written else None
    if schema is None:
        return None, faults
    form = f"{at}: entries do not fit version {data['version']}: "
    shards: Sequence[ShardEntry] | None = None
    if data["version"] == PAGED:
        shards = tried(lambda: _paged(data["shards"], where, form, read), ())
        if whole and isinstance(shards, PagedShards):
            shards, of_pages = shards.sound()
            faults += of_pages
    else:
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
        version=data["version"],
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
            faults.append(_other_hash(at, found, recorded))
    return manifest, faults


def unrecorded(payload: bytes) -> list[str]:
    """What a sound manifest carries no hash of, as sets did that were written before it could."""
    data = parse_json(payload, MANIFEST_NAME)
    values = "its own values that nothing else repeats (name, split, unit, letters of shapes)"
    others = "README.md, wids.json and the text of rejects.jsonl"
    return [what for key, what in ((_SELF, values), ("files", others)) if not data.get(key)]


def _paged(data: Any, where: str, form: str, read: Read | None) -> PagedShards:
    listed = PageList.from_json(data, form)
    if read is None:
        raise IncompleteSet(
            f"{where}/{MANIFEST_NAME}: files beside it list its shards, and nothing but its text is at hand; use "
            "Manifest.load, or pass what reads them"
        )
    return PagedShards(listed, read, where, form)


def _other_hash(at: str, found: str, recorded: Any) -> CorruptShard:
    return CorruptShard(
        f"{at}: sha256 of its values is {found[:12]}…, it records {recorded!r:.14}…; the file was edited "
        "or damaged: restore it"
    )


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


def _known_keys(data: Any, at: str) -> dict[str, Any]:
    found = data.get("version") if isinstance(data, dict) else None
    if type(found) is not int or found not in VERSIONS:
        raise SchemaMismatch(f"{at}: version is {found!r:.80}, this code reads {LISTED} and {PAGED}; rebuild the set")
    required = Manifest.__dataclass_fields__.keys() - _OPTIONAL.keys()
    required |= {_SELF} if found == PAGED else set()
    if data.keys() - (_OPTIONAL.keys() - required) != required:
        raise SchemaMismatch(
            f"{at}: entries do not fit version {found}: keys that are missing {sorted(required - data.keys())}, that "
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
