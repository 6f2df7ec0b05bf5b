"""Walks a shard's tar: plain USTAR, one file after the other, and nothing else in between or behind.

`tarfile` parses a header here, and no more: its walk follows extended headers, links and sparse files, whose sizes have
nothing to do with the bytes that are there, and takes a damaged header for the end. Memory is that of one member.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shards.errors import CorruptShard

_BLOCK_BYTES = tarfile.BLOCKSIZE
_READ_BYTES = 1 << 20


def walk(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """(name, data offset, bytes) of every member; CorruptShard for anything that a shard's tar does not hold."""
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        while (header := file.read(_BLOCK_BYTES)).strip(b"\0"):
            offset = file.tell()
            member = _member(header, path.name, offset - len(header))
            if member.size > n_bytes - offset:
                raise CorruptShard(f"{path.name}: {member.name!r} is cut short; rebuild this shard")
            yield member.name, offset, file.read(member.size)
            file.seek(-member.size % _BLOCK_BYTES, 1)
        end = min(file.tell(), n_bytes) - len(header)
        if n_bytes - end < 2 * _BLOCK_BYTES or not _is_zero_to_the_end(file):
            raise CorruptShard(
                f"{path.name}: no end of archive at byte {end}: the tar is cut, or a header is damaged; "
                "rebuild this shard or download it again"
            )


def _member(header: bytes, tar_name: str, offset: int) -> tarfile.TarInfo:
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        raise CorruptShard(
            f"{tar_name}: the tar is damaged: the header at byte {offset} ({error}); rebuild this shard"
        ) from error
    if member.type != tarfile.REGTYPE or member.size < 0:
        raise CorruptShard(
            f"{tar_name}: {member.name!r} is no plain file (type {member.type!r}, {member.size} bytes); "
            "rebuild this shard"
        )
    return member


def _is_zero_to_the_end(file: BinaryIO) -> bool:
    while rest := file.read(_READ_BYTES):
        if rest.strip(b"\0"):
            return False
    return True
