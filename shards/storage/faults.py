"""What is wrong with a file of a set, in the same words wherever it lies: missing, of another size, of other bytes."""

from __future__ import annotations

from shards.errors import CorruptShard, IncompleteSet, StoreFailed
from shards.storage.atomic import sha256_bytes


def missing(name: str, folder: object) -> IncompleteSet:
    """A file that is not there."""
    if name == "manifest.json":
        return IncompleteSet(
            f"manifest.json not found in {folder}: it is written last, so either the build has not finished "
            "(run it again, it continues) or this is not the folder of a shard set"
        )
    return IncompleteSet(
        f"{name}: named by the manifest but not found in {folder}; rebuild this shard or download it again"
    )


def unreadable(name: str, where: object, error: OSError) -> StoreFailed:
    """A file that this process may not, or cannot, read."""
    return StoreFailed(f"{name}: cannot be read in {where} ({error.strerror}); look at its permissions and its disk")


def other_size(name: str, folder: object, found_bytes: int, expected_bytes: int) -> CorruptShard:
    """A file of another size than recorded."""
    return CorruptShard(
        f"{name}: has {found_bytes} bytes, the manifest says {expected_bytes}, in {folder}; "
        "the file was cut or replaced: rebuild this shard or download it again"
    )


def other_bytes(name: str, folder: object, payload: bytes, sha256: str) -> CorruptShard:
    """A file of another hash than recorded."""
    return CorruptShard(
        f"{name}: sha256 is {sha256_bytes(payload)[:12]}…, recorded {sha256[:12]}…, in {folder}; "
        "rebuild this shard or download it again"
    )
