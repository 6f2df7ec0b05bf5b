"""The rows of a batch, read by the compiled library: one call without Python's lock copies, hashes and compares.

Owns handing the batch over as addresses, and whether it can be: a file that is not open, or memory with gaps, is for
Python (`shards.reading.rows`), and so is every sample that is not as it should be. Errors are found there once more.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ctypes import CDLL

from shards.native.library import address_of
from shards.reading.member_column import MemberColumn
from shards.storage.open_files import TarBytes

_COLUMN = struct.Struct("5q")  # `struct column` of rows.c


def n_read(native: CDLL, columns: Sequence[MemberColumn], sources: Sequence[TarBytes], *, verify: bool) -> int:
    """How many samples, from the first on, are in their places, compared with their hashes if `verify`. 0 where the
    library cannot read them. Columns are in the order of the tar; sources has the tar of each sample."""
    files = [source.mapped for source in sources]
    if not all(files) or not all(column.memory.flags.c_contiguous for column in columns):
        return 0
    handed = b"".join([_handed_over(column) for column in columns])
    return native.read_rows(len(files), len(columns), handed, b"".join(files), verify)


def _handed_over(column: MemberColumn) -> bytes:
    starts, lengths, hashes = column.places
    varies = not isinstance(lengths, int)
    return _COLUMN.pack(
        address_of(starts), address_of(lengths) if varies else 0, address_of(hashes), address_of(column.memory),
        0 if varies else lengths,
    )  # fmt: skip
