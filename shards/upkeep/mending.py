"""Mending a finished set: which of its files are damaged or missing, and getting those, and no others, back.

An index is made again from its sound tar; everything else comes from another copy of the same bytes. What neither gives
has to be built again: its records are named. The manifest is believed; a set without one is no set, and neither is one
of whose shards the list is lost (`shards.contract.shard_pages`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shards.contract.index import ShardIndex, build_index
from shards.contract.manifest import MANIFEST_NAME, Manifest, ShardEntry, TableEntry, files_that_list
from shards.contract.shard_list import check_distinct
from shards.contract.tables import TABLES
from shards.errors import ConfigError, ContractError, CorruptShard, IncompleteSet, SchemaMismatch
from shards.storage.atomic import flush, sha256_file
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import BESIDE, alone, copy_file

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Damage:
    """A file that is missing or has other bytes, and the shard or table it belongs to, if it does."""

    name: str
    reason: str
    sha256: str = ""
    shard: ShardEntry | None = None
    table: TableEntry | None = None

    @property
    def is_tar(self) -> bool:
        return self.shard is not None and self.name.endswith(".tar")


@dataclass(frozen=True)
class Repair:
    """What a repair came to: names of the files that are sound again, and what is damaged still."""

    manifest: Manifest
    mended: tuple[str, ...]
    left: tuple[Damage, ...]


def find_damage(folder: Folder, manifest: Manifest, report: Report = lambda done, total: None) -> Iterator[Damage]:
    """Every file of a set whose bytes are not those of the manifest; tars before their indexes. Reads all of it."""
    for done, shard in enumerate(manifest.shards, 1):
        for suffix, sha256 in (("tar", shard.tar_sha256), ("idx", shard.idx_sha256)):
            name = f"{shard.name}.{suffix}"
            if reason := _fault(folder, name, sha256, shard.tar_bytes if suffix == "tar" else None):
                yield Damage(name, reason, sha256, shard=shard)
        report(done, len(manifest.shards))
    for table in manifest.tables:
        for suffix, sha256 in (("safetensors", table.sha256), ("json", table.info_sha256)):
            name = f"{TABLES}/{table.name}.{suffix}"
            if reason := _fault(folder, name, sha256):
                yield Damage(name, reason, sha256, table=table)
    for name in dict.fromkeys((*BESIDE, *manifest.files)):
        sha256 = manifest.files.get(name, "")
        if reason := _fault(folder, name, sha256):
            yield Damage(name, reason, sha256)


def repair_set(
    place: str | Path,
    other: str | Path | None = None,
    *,
    storage_options: StorageOptions | None = None,
    report: Report = lambda done, total: None,
) -> Repair:
    """Mend the set at a folder or URL, from itself and from `other`, a set that holds the same shards under any names.

    Raises:
        IncompleteSet, CorruptShard: there is no manifest, or what lists the shards beside it is damaged and not at
            `other`; a pull makes the set anew.
        ConfigError: the set, or nothing of the same bytes, is at `other`.
    """
    folder = open_folder(place, storage_options=storage_options)
    payload = folder.read(MANIFEST_NAME)
    giver = None if other is None else open_folder(other, storage_options=storage_options)
    with alone(folder):
        mended, left = _lists_again(folder, files_that_list(payload, str(folder)), giver), []
        manifest = Manifest.load(folder)
        check_distinct(manifest.shards, f"{folder}/{MANIFEST_NAME}")
        source = None if giver is None else _Source(folder, manifest, giver)
        damaged = list(find_damage(folder, manifest, report))
        if damaged:
            folder.check_writable()
            folder.sweep()
        for damage in damaged:
            tar_is_damaged = any(one.is_tar for one in left if one.shard == damage.shard)
            own_index = damage.shard is not None and not damage.is_tar and not tar_is_damaged
            if (own_index and _index_again(folder, manifest, damage)) or (source and source.gives(damage)):
                mended.append(damage.name)
            else:
                left.append(damage)
    return Repair(manifest, tuple(mended), tuple(left))


def _lists_again(folder: Folder, lists: Mapping[str, str], other: Folder | None) -> list[str]:
    """Get what lists the shards back, and return which of it was damaged; its fault is raised where nobody has it."""
    mended = []
    for name, sha256 in lists.items():
        try:
            folder.read(name, sha256)
        except (CorruptShard, IncompleteSet) as error:
            payload = _from_copy(other, name, sha256, error)
            folder.check_writable()
            folder.write(name, payload)
            mended.append(name)
    return mended


def _from_copy(other: Folder | None, name: str, sha256: str, fault: ContractError) -> bytes:
    """What lists shards, as the manifest has its hash. CorruptShard: nobody has it."""
    lost = f"what lists the shards of this set is damaged: {fault}. Only a byte-equal copy of the set has it"
    if other is None:
        raise CorruptShard(f"{lost}: set repair SET from=COPY") from fault
    try:
        return other.read(name, sha256)
    except (CorruptShard, IncompleteSet) as error:
        raise CorruptShard(f"{lost}, and {other} is none ({type(error).__name__}: {name})") from error


def keys_of(folder: Folder, manifest: Manifest, shard: ShardEntry) -> list[str]:
    """Keys of a shard's records, by its index, else by its tar; none where both are damaged."""
    try:
        payload = folder.read(f"{shard.name}.idx", shard.idx_sha256)
        return ShardIndex.load(payload, manifest.schema, shard.name).key_list()
    except ContractError:
        pass
    try:
        with folder.local_copy(f"{shard.name}.tar") as tar:
            return build_index(tar, manifest.schema).key_list()
    except ContractError:
        return []


def discard(folder: Folder, damaged: tuple[Damage, ...]) -> list[str]:
    """Remove the damaged files of shards, so that the build that made the set makes them anew; returns their names."""
    names = [damage.name for damage in damaged if damage.shard is not None]
    for name in names:
        folder.remove(name)
    return names


class _Source:
    """Another set, by the hashes of what it holds."""

    def __init__(self, folder: Folder, manifest: Manifest, other: Folder) -> None:
        self.folder, self.other = folder, other
        there = Manifest.load(other)
        self.is_same = other.read(MANIFEST_NAME) == folder.read(MANIFEST_NAME)
        self.names = {
            sha256: name
            for shard in there.shards
            for sha256, name in ((shard.tar_sha256, f"{shard.name}.tar"), (shard.idx_sha256, f"{shard.name}.idx"))
        }
        self.tables = {table.sha256: table.name for table in there.tables}
        if str(folder) == str(other):
            raise ConfigError(f"from: {other} is the set itself; name another copy.")
        if not any(shard.tar_sha256 in self.names for shard in manifest.shards):
            raise ConfigError(f"from: {other} holds no shard of {folder}; `set diff` says what differs.")

    def gives(self, damage: Damage) -> bool:
        """Copy a file that is damaged here; False if the other has not its bytes either."""
        try:
            if damage.shard is not None:
                if damage.sha256 not in self.names:
                    return False
                copy_file(self.other, self.folder, self.names[damage.sha256], damage.sha256, damage.name)
            elif damage.table is not None:
                if damage.table.sha256 not in self.tables:
                    return False
                suffix = damage.name.rpartition(".")[2]
                name = f"{TABLES}/{self.tables[damage.table.sha256]}.{suffix}"
                self.folder.write(damage.name, self.other.read(name, damage.sha256))
            elif self.is_same:
                self.folder.write(damage.name, self.other.read(damage.name, damage.sha256))
            else:
                return False
        except (CorruptShard, IncompleteSet):
            return False
        return True


def _fault(folder: Folder, name: str, sha256: str, n_bytes: int | None = None) -> str:
    try:
        if n_bytes is None:
            folder.read(name, sha256)
            return ""
        folder.check_size(name, n_bytes)
        found = folder.sha256(name)
    except (CorruptShard, IncompleteSet) as error:
        return str(error)
    return "" if found == sha256 else f"{name}: sha256 is {found[:12]}…, recorded {sha256[:12]}…, in {folder}"


def _index_again(folder: Folder, manifest: Manifest, damage: Damage) -> bool:
    assert damage.shard is not None
    with folder.staged(damage.name) as (new,):
        try:
            with folder.local_copy(f"{damage.shard.name}.tar") as tar:
                build_index(tar, manifest.schema).save(new)
        except (CorruptShard, IncompleteSet, SchemaMismatch):
            return False
        if sha256_file(new) != damage.sha256:
            return False
        with new.open("rb") as file:
            flush(file.fileno())
        folder.publish(new, damage.name, damage.sha256)
    return True
