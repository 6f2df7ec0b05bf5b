"""What was built before: records whose bytes, or whose encoded arrays, are taken over instead of being made again.

Owns finding a key's earlier record, and reading it out of its tar, which is checked against its SHA-256 first. A tar
that is gone or damaged only means that its records are made again.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.building.ledger import FinishedShard, Place, Rejected, finished_of_set, read_finished, read_manifest
from shards.contract.manifest import ShardEntry
from shards.contract.origins import Origin
from shards.contract.schema import PackedRecord, Schema
from shards.errors import CorruptShard, IncompleteSet
from shards.storage.atomic import sha256_file
from shards.storage.storage import Folder, open_folder


@dataclass(frozen=True)
class Earlier:
    """A key of an earlier build: what its record was made of, and what was left out of it."""

    origin: Origin
    shared: str
    shard: ShardEntry | None
    rejects: tuple[Rejected, ...]


class Previous:
    """The keys of some finished shards of a folder. Make one with `of_set` or `of_shard`."""

    def __init__(self, folder: Folder, finished: Sequence[FinishedShard]) -> None:
        self.folder = folder
        self._keys: dict[str, Earlier] = {}
        for part in finished:
            if part.origins is None:
                continue
            rejects: dict[str, list[Rejected]] = {}
            for reject in part.rejects:
                rejects.setdefault(reject.key, []).append(reject)
            for origin in part.origins.records:
                why = tuple(rejects.get(origin.key, ()))
                self._keys[origin.key] = Earlier(origin, part.origins.shared, part.shard, why)

    @staticmethod
    def of_set(place: Place) -> Previous | None:
        """A finished set, if it says what its records were made of."""
        folder = open_folder(place)
        manifest = read_manifest(folder)
        return None if manifest is None else Previous(folder, list(finished_of_set(folder, manifest).values()))

    @staticmethod
    def of_shard(place: Place, name: str) -> Previous | None:
        """One shard of an unfinished build, if it was finished."""
        folder = open_folder(place)
        finished = read_finished(folder, name)
        return None if finished is None else Previous(folder, [finished])

    def earlier(self, key: str) -> Earlier | None:
        return self._keys.get(key)

    @contextmanager
    def records(self, keys: Sequence[str], schema: Schema) -> Iterator[EarlierRecords]:
        """The records of some keys, readable inside the context and from several threads."""
        found = {key: self._keys[key] for key in keys if key in self._keys}
        shards = {one.shard.name: one.shard for one in found.values() if one.shard is not None}
        with ExitStack() as opened:
            tars = {}
            for name, shard in shards.items():
                try:
                    tars[name] = opened.enter_context(_opened(self.folder, shard))
                except (IncompleteSet, CorruptShard, tarfile.TarError):
                    continue  # made again
            yield EarlierRecords(found, tars, schema)


class EarlierRecords:
    """Records of an earlier build, while their tars are open."""

    def __init__(self, found: Mapping[str, Earlier], tars: Mapping[str, _Tar], schema: Schema) -> None:
        self._found, self._tars, self._schema = found, tars, schema

    def packed(self, key: str) -> PackedRecord | None:
        """The record as it was packed; None if there is none, or its tar is damaged."""
        earlier = self._found.get(key)
        tar = self._tars.get(earlier.shard.name) if earlier and earlier.shard else None
        names = [f"{key}.{field.member}" for field in self._schema.fields]
        if tar is None or any(name not in tar.places for name in names):
            return None
        return PackedRecord(key, tuple((name, tar.read(name)) for name in names))

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        """The arrays of the record, by field; none if there is no record."""
        packed = self.packed(key)
        members = dict(packed.members) if packed else {}
        fields = [field for field in self._schema.fields if field.codec == "npy"]
        return {field.name: self._schema.unpack(field, members[f"{key}.{field.member}"]) for field in fields if members}


class _Tar:
    """An open tar: where its members lie."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path, "r:") as tar:
            self.places = {member.name: (member.offset_data, member.size) for member in tar}
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, name: str) -> bytes:
        offset, n_bytes = self.places[name]
        payload = os.pread(self._descriptor, n_bytes, offset)
        if len(payload) != n_bytes:
            raise CorruptShard(f"{name}: its tar was cut while it was read; run the build again")
        return payload

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def _opened(folder: Folder, shard: ShardEntry) -> Iterator[_Tar]:
    with folder.local_copy(f"{shard.name}.tar") as path:
        tar = _Tar(path)
        try:
            if sha256_file(path) != shard.tar_sha256:
                raise CorruptShard(f"{shard.name}.tar in {folder} is not as recorded")
            yield tar
        finally:
            tar.close()
