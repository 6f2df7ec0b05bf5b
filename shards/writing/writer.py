"""Writes shards and finishes sets: equal records give equal bytes, and a killed writer leaves nothing that
looks whole.

A shard is written under a temporary name on this machine, hashed and indexed while it is written (`tar_stream`),
synced, then published: renamed in a folder, or uploaded to a store and checked there. Index first, tar second, so a tar
under its final name always has its index. The caller keeps the ShardEntry (a build keeps it under `_build/`);
`seal_set` writes the manifest, which is what makes the set readable. Which records go into which shard is the caller's
plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.index import IndexRows, ShardIndex
from shards.contract.manifest import Manifest, ShardEntry, TableEntry, fingerprint, version_for
from shards.contract.schema import PackedRecord, Record, Schema, check_key
from shards.errors import CorruptShard, SchemaMismatch
from shards.storage.atomic import flush, sha256_bytes, sha256_file
from shards.storage.storage import Folder, open_folder
from shards.writing.card import render_card
from shards.writing.tar_stream import TarStream

BUILD_FOLDER = "_build"
REJECTS_NAME = "rejects.jsonl"
_LOOKS_AT_ONCE = 8


def write_shard(
    folder: Path | str | Folder, name: str, schema: Schema, records: Iterable[Record | PackedRecord]
) -> ShardEntry:
    """Write `<name>.tar` and `<name>.idx` into `folder`, a path or URL, and return what the manifest will say of them.

    An existing shard of that name is replaced in one step. Raises SchemaMismatch for a record that does not
    fit, for a key used twice and for no records at all; nothing stays behind in any of these cases.
    """
    check_key(name)
    place, tar_name, idx_name = open_folder(folder), f"{name}.tar", f"{name}.idx"
    keys: set[str] = set()
    rows = IndexRows(schema)
    with place.staged(tar_name, idx_name) as (new_tar, new_idx):
        with new_tar.open("wb") as file:
            tar = TarStream(file)
            for record in records:
                if record.key in keys:
                    raise SchemaMismatch(f"{name}: key {record.key!r} comes twice; make keys unique")
                keys.add(record.key)
                if isinstance(record, PackedRecord):
                    files = [(tar.add(member, b"", payload), payload) for member, payload in record.members]
                    rows.add_files(record.key, files, name)
                    continue
                packed = schema.pack(record)
                for field, member in zip(schema.fields, packed.members, strict=True):
                    offset = tar.add(member.name, member.header, member.data)
                    rows.add_member(field.name, offset + len(member.header), member.data, member.shape, member.rows)
                rows.end_record(record.key, packed.items)
            tar_bytes, tar_sha256 = tar.end()
            file.flush()
            flush(file.fileno())
        if not keys:
            raise SchemaMismatch(f"{name}: no records; plan fewer shards, or look into the rejects")
        index = rows.index()
        index.save(new_idx)
        with new_idx.open("rb") as file:
            flush(file.fileno())
        shard = ShardEntry(name, len(keys), len(index.items), tar_bytes, tar_sha256, sha256_file(new_idx))
        place.publish(new_idx, idx_name, shard.idx_sha256)
        place.publish(new_tar, tar_name, shard.tar_sha256)
    return shard


def check_shard(folder: Path | str | Folder, shard: ShardEntry, *, deep: bool = False) -> None:
    """IncompleteSet or CorruptShard unless the shard's files are as recorded: size and index hash, or all
    (`deep`).
    """
    files = open_folder(folder)
    files.check_size(f"{shard.name}.tar", shard.tar_bytes)
    files.read(f"{shard.name}.idx", shard.idx_sha256)
    found = files.sha256(f"{shard.name}.tar") if deep else shard.tar_sha256
    if found != shard.tar_sha256:
        raise CorruptShard(
            f"{shard.name}.tar: sha256 is {found[:12]}…, recorded {shard.tar_sha256[:12]}…, "
            f"in {files}; rebuild this shard or download it again"
        )


def seal_set(
    root: Path | str | Folder,
    *,
    name: str,
    split: str,
    recipe: Mapping[str, Any],
    schema: Schema,
    shards: Sequence[ShardEntry],
    rejects: Sequence[Mapping[str, Any]] = (),
    tables: Sequence[TableEntry] = (),
    card: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> Manifest:
    """Turn finished shards in `root` into a set: rejects, card, wids index, manifest last, then drop
    `_build/`.

    `rejects` are one JSON object per example left out, in shard order; `card` the facts about the source; `files` the
    sha256 of other files that lie beside the shards already.
    Raises IncompleteSet or CorruptShard if a shard is not as recorded, SchemaMismatch if counts or keys do
    not add up.
    """
    folder = open_folder(root)
    counts = _count(folder, schema, shards)
    if counts["rejects"] != len(rejects):
        raise SchemaMismatch(
            f"{name}: shards count {counts['rejects']} rejects, {len(rejects)} were given; pass all of them"
        )
    # the recipe as a reader will see it: lists for tuples
    plain: dict[str, Any] = parse_json(canonical_json(dict(recipe), "recipe"), "recipe")
    manifest = Manifest(
        name,
        split,
        plain,
        fingerprint(plain),
        schema,
        tuple(shards),
        counts,
        tuple(tables),
        version_for(len(shards)),
    )
    beside = {
        "README.md": render_card(manifest, card or {}).encode(),
        REJECTS_NAME: rejects_lines(rejects),
        "wids.json": canonical_json(_wids_index(manifest), "wids.json", indent=1) + b"\n",
    }
    for file_name, payload in beside.items():
        folder.write(file_name, payload)
    hashes = {file_name: sha256_bytes(payload) for file_name, payload in beside.items()}
    manifest = replace(manifest, files={**hashes, **(files or {})})
    manifest.write(folder)
    folder.remove_folder(BUILD_FOLDER)
    return manifest


def rejects_lines(rejects: Sequence[Mapping[str, Any]]) -> bytes:
    """A line for each example or entry that was left out, with its reason."""
    return b"".join(canonical_json(dict(reject), REJECTS_NAME) + b"\n" for reject in rejects)


def write_rejects(folder: Folder, rejects: Sequence[Mapping[str, Any]], name: str = REJECTS_NAME) -> None:
    """Write the lines of `rejects` into a folder."""
    folder.write(name, rejects_lines(rejects))


def read_rejects(folder: Folder) -> list[dict[str, Any]]:
    """The lines that are in the folder of a set."""
    return [parse_json(line, REJECTS_NAME) for line in folder.read(REJECTS_NAME).splitlines()]


def _count(folder: Folder, schema: Schema, shards: Sequence[ShardEntry]) -> dict[str, int]:
    """records, items, rejects and rows per axis, from the index files; also checks the shards and that keys
    differ.
    """
    totals = dict.fromkeys(("records", "items", "rejects", *schema.axes), 0)
    owner: dict[str, str] = {}

    def load(shard: ShardEntry) -> ShardIndex:
        folder.check_size(f"{shard.name}.tar", shard.tar_bytes)
        return ShardIndex.load(folder.read(f"{shard.name}.idx", shard.idx_sha256), schema, f"{shard.name}.idx")

    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:  # a store takes a round trip for each
        indexes = list(pool.map(load, shards))
    for shard, index in zip(shards, indexes, strict=True):
        for count in ("records", "items", "rejects"):
            totals[count] += getattr(shard, count)
        for axis, rows in index.axis_rows(schema).items():
            totals[axis] += rows
        for key in index.key_list():
            if key in owner:
                raise SchemaMismatch(f"key {key!r} is in {owner[key]} and in {shard.name}; make keys unique")
            owner[key] = shard.name
    return totals


def _wids_index(manifest: Manifest) -> dict[str, Any]:
    """What webdataset's random-access reader `wids` expects."""
    shardlist = [
        {"url": f"{shard.name}.tar", "nsamples": shard.records, "filesize": shard.tar_bytes}
        for shard in manifest.shards
    ]
    return {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": manifest.name,
        "shardlist": shardlist,
    }
