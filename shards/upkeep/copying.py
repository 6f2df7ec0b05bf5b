"""Copying a set from one place to another, shard by shard: verified, going on where it was killed, the manifest last.

A copy is byte-equal, file by file. While it is made, `_copy/` of the target says of which set, and in a store which
shards are there: their bytes were compared when they arrived, and need not be fetched to know that. A store that knows
hashes itself is asked, and a folder's files are hashed again. What is copied where, and what is told about it, is the
caller's.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from shards.contract.canonical import canonical_json
from shards.contract.manifest import (
    MANIFEST_NAME,
    Manifest,
    ShardEntry,
    TableEntry,
    examine,
    files_that_list,
    recipe_difference,
)
from shards.contract.schema import check_key
from shards.contract.shard_list import check_distinct
from shards.contract.shard_pages import sweep_files
from shards.contract.tables import TABLES
from shards.errors import ConfigError, ContractError, CorruptShard, IncompleteSet, StoreFailed
from shards.storage.atomic import flush
from shards.storage.local import LocalFolder
from shards.storage.open_files import try_lock
from shards.storage.storage import Folder
from shards.writing.writer import BUILD_FOLDER, REJECTS_NAME, check_shard

COPY_FOLDER = "_copy"
BESIDE = (REJECTS_NAME, "README.md", "wids.json")  # the shards; sets of before have no hashes of them
ENVIRONMENT = "environment.json"  # as `pipeline.building.environments` calls it
THREADS = 4
_BEGUN, _REPLACED = f"{COPY_FOLDER}/{MANIFEST_NAME}", f"{COPY_FOLDER}/replaced.json"
_ATTEMPTS = 3  # a byte can change on the way; the network's own faults are tried again below this

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Copied:
    """What a copy came to: shards that were copied and their bytes, and shards that were there already."""

    manifest: Manifest
    shards: int
    n_bytes: int
    kept: int


def copy_set(
    source: Folder,
    target: Folder,
    *,
    replace: bool = False,
    threads: int = THREADS,
    report: Report = lambda done, total: None,
) -> Copied:
    """Make `target` a copy of the set at `source`, or go on with one that was interrupted.

    Args:
        replace: another set may be there; it is no set any more from the first moment on.
        threads: shards on their way at once, each with room on this machine where they are copied to a store.
        report: is told (shards done, of all).

    Raises:
        ConfigError: something else is there, somebody else copies into the folder, or nothing can be written there.
        CorruptShard: the source's bytes are not those of its manifest.
    """
    payload = source.read(MANIFEST_NAME)
    manifest = Manifest.parse(payload, str(source), source.read)
    lists = files_that_list(payload, str(source))
    shards = tuple(manifest.shards)
    for named in (*shards, *manifest.tables):  # of whoever published it: none must lead out of the folder
        check_key(named.name)
    check_distinct(shards, f"{source}/{MANIFEST_NAME}")
    target.check_writable()
    with alone(target):
        if target.exists(MANIFEST_NAME) and target.read(MANIFEST_NAME) == payload:
            return _already_there(source, target, manifest, lists)
        replaced = _begin(target, payload, manifest, replace)
        copied = _copy_shards(source, target, manifest.shards, replaced, threads, report)
        copy_tables(source, target, manifest)
        beside = dict.fromkeys((*BESIDE, *manifest.files, *_of_the_build(source)))
        for name in beside:
            target.write(name, source.read(name, manifest.files.get(name, "")))
        for name, sha256 in lists.items():
            target.write(name, source.read(name, sha256))
        sweep_files(target, lists)
        for name in _of_the_build(target) if replaced else ():
            if name not in beside:  # it tells of the set that was there
                target.remove(name)
        target.write(MANIFEST_NAME, payload)
        for name in {shard.name for shard in replaced} - {shard.name for shard in manifest.shards}:
            target.remove(f"{name}.tar")
            target.remove(f"{name}.idx")
        target.remove_folder(COPY_FOLDER)
    n_bytes = sum(shard.tar_bytes for shard in copied)
    return Copied(manifest, len(copied), n_bytes, len(manifest.shards) - len(copied))


def copy_file(source: Folder, target: Folder, name: str, sha256: str, called: str = "") -> None:
    """Copy one large file, `called` otherwise there; CorruptShard if the source has no such bytes, and nothing is left
    then."""
    with target.staged(called or name) as (new,):
        found = ""
        for _ in range(_ATTEMPTS):
            found = source.bring(name, new)
            if found == sha256:
                break
        else:
            raise CorruptShard(
                f"{name}: sha256 is {found[:12]}…, recorded {sha256[:12]}…, in {source}; mend that set first: "
                "`set verify` names all that is wrong with it"
            )
        with new.open("rb") as file:
            flush(file.fileno())
        target.publish(new, called or name, sha256)


def copy_shard(source: Folder, target: Folder, shard: ShardEntry) -> None:
    """Both files of a shard, the index first: a tar under its final name has one."""
    copy_file(source, target, f"{shard.name}.idx", shard.idx_sha256)
    copy_file(source, target, f"{shard.name}.tar", shard.tar_sha256)


def copy_tables(source: Folder, target: Folder, manifest: Manifest) -> tuple[TableEntry, ...]:
    """The tables of a set, byte for byte."""
    for table in manifest.tables:
        for suffix, sha256 in (("safetensors", table.sha256), ("json", table.info_sha256)):
            name = f"{TABLES}/{table.name}.{suffix}"
            target.write(name, source.read(name, sha256))
    return manifest.tables


def _begin(target: Folder, payload: bytes, manifest: Manifest, replace: bool) -> Sequence[ShardEntry]:
    """Note what is copied, and clean up after whoever was killed at it; returns the shards of the set it replaces."""
    begun = target.read(_BEGUN) if target.exists(_BEGUN) else None
    old = target.read(MANIFEST_NAME) if target.exists(MANIFEST_NAME) else None
    if not replace:
        _refuse_others(target, old, begun, manifest, payload)
    target.sweep()
    if begun != payload:
        target.remove_folder(COPY_FOLDER)
        if old is not None:
            _keep(target, old)
        target.write(_BEGUN, payload)
    if old is not None:
        target.remove(MANIFEST_NAME)
    try:
        kept = target.below(COPY_FOLDER)
        return tuple(Manifest.parse(target.read(_REPLACED), f"{target}/{_REPLACED}", kept.read).shards)
    except ContractError:  # nothing is replaced, or something that could not be read
        return ()


def _keep(target: Folder, old: bytes) -> None:
    """Note which set is replaced, with the files that list its shards, in whose places others will be."""
    try:
        for name, sha256 in files_that_list(old, str(target)).items():
            target.write(f"{COPY_FOLDER}/{name}", target.read(name, sha256))
    except ContractError:  # it cannot be read: so is what is noted
        pass
    target.write(_REPLACED, old)


def _refuse_others(target: Folder, old: bytes | None, begun: bytes | None, manifest: Manifest, payload: bytes) -> None:
    found, what = (begun, "an unfinished copy of another set") if old is None else (old, "another set")
    if found is None and (target.exists(f"{BUILD_FOLDER}/recipe.json") or target.names("*.tar")):
        raise ConfigError(f"{target} holds shards of an unfinished build, or of unknown origin; give another place.")
    if found is None or found == payload:
        return
    there, faults = examine(found, str(target), target.read)
    if there is not None and (old is None or not faults):  # the files of one that is unfinished are not there yet
        lines = recipe_difference(manifest.recipe, there.recipe, "the one there") or ["their recipes are equal"]
    else:
        lines = [str(faults[0])]
    shown = "\n  ".join(lines)
    raise ConfigError(
        f"{target} holds {what}:\n  {shown}\n`set diff` says more. Give another place, or say --replace to overwrite "
        "it. Nothing was changed."
    )


def _already_there(source: Folder, target: Folder, manifest: Manifest, lists: Mapping[str, str]) -> Copied:
    for name, sha256 in lists.items():
        try:
            target.read(name, sha256)
        except (IncompleteSet, CorruptShard) as error:
            raise CorruptShard(
                f"{target} is a copy of this set, and what lists its shards is damaged: {error}. "
                f"Mend it: set repair {target} from={source}"
            ) from error
    with ThreadPoolExecutor(THREADS) as pool:
        faults = [fault for fault in pool.map(lambda shard: _fault_of(target, shard), manifest.shards) if fault]
    if faults:
        raise CorruptShard(
            f"{target} is a copy of this set, {len(faults)} of its shards are damaged. The first: {faults[0]}. "
            f"Mend it: set repair {target} from={source}"
        )
    target.remove_folder(COPY_FOLDER)  # a copy may have been killed between its manifest and this,
    target.sweep()  # or while it wrote a card
    return Copied(manifest, 0, 0, len(manifest.shards))


def _fault_of(target: Folder, shard: ShardEntry) -> str:
    try:
        check_shard(target, shard)
    except (IncompleteSet, CorruptShard) as error:
        return str(error)
    return ""


def _copy_shards(
    source: Folder,
    target: Folder,
    shards: Sequence[ShardEntry],
    replaced: Sequence[ShardEntry],
    threads: int,
    report: Report,
) -> list[ShardEntry]:
    """Those that had to be copied."""
    copied: list[ShardEntry] = []
    known = {_hashes(shard) for shard in replaced}

    def one(shard: ShardEntry) -> None:
        if not _is_there(target, shard, _hashes(shard) in known):
            copy_shard(source, target, shard)
            _note(target, shard)
            copied.append(shard)

    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(one, shard) for shard in shards]
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                future.result()
                report(done, len(shards))
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure or Ctrl+C no further shard is begun
    return copied


def _is_there(target: Folder, shard: ShardEntry, known: bool) -> bool:
    """Whether a shard's very bytes are there: `known` says that the set there had a shard of these hashes."""
    try:
        if (
            target.is_remote
            and not known
            and not _told(target, shard)
            and target.read(_noted(shard)) != _note_of(shard)
        ):
            return False
        check_shard(target, shard, deep=not target.is_remote)
    except (IncompleteSet, CorruptShard):
        return False
    return True


def _of_the_build(folder: Folder) -> list[str]:
    """What else a build left beside the shards for the next one: lines, and what computed them. Of a web server, which
    lists nothing, none."""
    try:
        return [name for name in folder.names("*.json*") if name.endswith(".jsonl") or name == ENVIRONMENT]
    except StoreFailed:
        return []


def _told(target: Folder, shard: ShardEntry) -> bool:
    """Whether the store itself says that the tar is there: the index, which comes first, is compared then."""
    return target.known_sha256(f"{shard.name}.tar") == shard.tar_sha256


def _note(target: Folder, shard: ShardEntry) -> None:
    if target.is_remote and not _told(target, shard):
        target.write(_noted(shard), _note_of(shard))


def _noted(shard: ShardEntry) -> str:
    return f"{COPY_FOLDER}/{shard.name}.json"


def _note_of(shard: ShardEntry) -> bytes:
    return canonical_json(shard.to_json(), shard.name)


def _hashes(shard: ShardEntry) -> tuple[str, str, str]:
    return shard.name, shard.tar_sha256, shard.idx_sha256


@contextmanager
def alone(target: Folder) -> Iterator[None]:
    """In a folder one copies at a time, since each removes what killed ones left. In a store two that copy the same do
    each other no harm."""
    if not isinstance(target, LocalFolder):
        yield
        return
    target.root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target.root, os.O_RDONLY)
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX):
            raise ConfigError(f"{target}: another process is copying into this folder; wait for it, or end it first.")
        yield
    finally:
        os.close(descriptor)
