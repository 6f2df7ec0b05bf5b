"""The walk of a tar from header to header: where its files lie. Data is passed over, so any part of it can be far away.

`tarfile` would do it too, at twice the time, and follows what nobody asked for. Names are only names here: nothing is
ever opened by one, and what a tar of pictures has no use for (links, devices, sparse files, names that leave their
folder) is refused, with what to do, instead of being passed over in silence. A tar that is cut short gives what it
holds up to there. Numbers and extended headers are those of POSIX (pax) and of GNU tar.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from shards.errors import SourceError

BLOCK_BYTES = 512
WHOLE = -1  # where a tar that is not cut is cut
_LARGEST = 1 << 62  # bytes of a file
_MOST_EXTENDED_BYTES = 1 << 20  # of a header that holds a long name
_BEHIND_BYTES = 1 << 16  # of what follows the end, which is zero
_FILES = (b"\0", b"0", b"7")
_FOLDER, _GLOBAL, _EXTENDED, _LONG_NAME, _LONG_LINK = b"5", b"g", b"x", b"L", b"K"
_KINDS = {b"1": "a hard link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe"}
_SPARSE = "a sparse file"
_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=")

Read = Callable[[int, int], bytes]  # bytes `start` to `end`


@dataclass
class Walked:
    """Plain files of a tar in its order: names, where their bytes begin, how many they are, and a checksum of the
    header in front of them. `cut_at` is the byte at which the tar ends too early, or `WHOLE`; the last file may then
    reach beyond it."""

    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    checks: list[int] = field(default_factory=list)
    cut_at: int = WHOLE


@dataclass(frozen=True)
class Header:
    """One block of 512 bytes. `kind` is the type flag."""

    name: str
    size: int
    kind: bytes


def walk(read: Read, n_bytes: int, where: str) -> Walked:
    """Of a tar of `n_bytes`; `where` opens messages.

    Raises:
        SourceError: no tar, a damaged header, or something in it that no tar of pictures has a use for.
    """
    found, at = Walked(), 0
    extended: dict[str, str] = {}  # what stands in front of a file, for it alone
    while True:
        block = read(at, min(at + BLOCK_BYTES, n_bytes))
        if len(block) < BLOCK_BYTES:
            found.cut_at = at
            return found
        if not any(block):
            _check_end(read, at, n_bytes, where)
            return found
        header = _parsed(block, f"{where}: its header at byte {at}")
        data = at + BLOCK_BYTES
        if header.kind in (_GLOBAL, _EXTENDED, _LONG_NAME, _LONG_LINK):
            if header.size > _MOST_EXTENDED_BYTES:
                raise SourceError(
                    f"{where}: the header at byte {at} says that a name of {header.size} bytes follows; it is damaged, "
                    "or made to harm: copy the tar again"
                )
            payload = read(data, min(data + header.size, n_bytes))
            if len(payload) < header.size:
                found.cut_at = at
                return found
            extended |= _extension(header.kind, payload, f"{where}, byte {at}")
            at = data + _padded(header.size)
            continue
        name, size = extended.get("path", header.name), _size(extended, header, f"{where}, byte {at}")
        extended = {}
        is_folder = header.kind == _FOLDER or (header.kind == b"\0" and name.endswith("/"))
        if not is_folder:
            _check_kind(header.kind, name, where)
            _check_name(name, where)
            found.names.append(name)
            found.offsets.append(data)
            found.sizes.append(min(size, _LARGEST))  # a header can say more than 64 bits hold
            found.checks.append(check_of(block))
            if size > n_bytes - data:
                found.cut_at = at
                return found
            data += _padded(size)
        at = data


def check_of(block: bytes) -> int:
    """Checksum of a header: another name, size or time is another one."""
    return zlib.crc32(block)


def _parsed(block: bytes, what: str) -> Header:
    try:
        stated = _number(block[148:156])
        plain = sum(block[:148]) + 8 * 32 + sum(block[156:])
        if stated != plain and stated != plain - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
            raise ValueError("its checksum is another")
        size = _number(block[124:136])
    except ValueError as error:
        raise SourceError(f"{what} cannot be read as a tar's: {error}; copy it again") from error
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and (folder := block[345:500].split(b"\0", 1)[0]):
        name = folder + b"/" + name
    return Header(name.decode("utf-8", "surrogateescape"), size, block[156:157])


def _number(digits: bytes) -> int:
    """Octal, or base 256 where the first bit is set. ValueError."""
    if digits[0] & 0x80:
        if digits[0] != 0x80:
            raise ValueError("it holds a number below zero")
        return int.from_bytes(digits[1:], "big")
    text = digits.split(b"\0", 1)[0].strip()
    if not all(48 <= digit < 56 for digit in text):
        raise ValueError(f"{text!r} is no number")
    return int(text or b"0", 8)


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _extension(kind: bytes, payload: bytes, where: str) -> dict[str, str]:
    """Name and size, as far as an extended header has them."""
    if kind == _LONG_NAME:
        return {"path": payload.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")}
    if kind == _LONG_LINK:
        return {}  # the link itself is refused
    found: dict[str, str] = {}
    at = 0
    while at < len(payload) and payload[at]:
        match = _RECORD.match(payload, at)
        length = int(match[1]) if match else 0
        if match is None or not match.end() - at < length <= len(payload) - at:
            raise SourceError(f"{where}: its extended header is damaged; copy the tar again")
        keyword = match[2].decode("utf-8", "replace")
        if keyword.startswith("GNU.sparse"):
            raise SourceError(_refused(_SPARSE, "", where))
        if keyword in ("path", "size"):
            if kind == _GLOBAL:
                raise SourceError(f"{where}: one {keyword} for all of its files; pack it again with `tar -cf`")
            value = payload[match.end() : at + length - 1]
            found[keyword] = value.decode("utf-8", "surrogateescape")
        at += length
    return found


def _size(extended: dict[str, str], header: Header, where: str) -> int:
    text = extended.get("size")
    if text is None:
        return header.size
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise SourceError(f"{where}: says that a file has {text[:40]!r} bytes; copy the tar again")
    return int(text)


def _check_kind(kind: bytes, name: str, where: str) -> None:
    if kind not in _FILES:
        raise SourceError(
            _refused(_SPARSE if kind == b"S" else _KINDS.get(kind, f"an entry of kind {kind!r}"), name, where)
        )


def _refused(what: str, name: str, where: str) -> str:
    called = f" {name!r}" if name else ""
    return (
        f"{where}: holds {what}{called}; expected plain files. Pack it again with "
        "`tar --dereference --hard-dereference -cf`"
    )


def _check_name(name: str, where: str) -> None:
    if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise SourceError(
            f"{where}: holds {name!r}; expected a name that stays below its folder: no / in front, no .. in it. Pack "
            "it again from inside of its folder"
        )
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise SourceError(f"{where}: holds {name!r}, which is no UTF-8; name the file otherwise and pack it again")


def _check_end(read: Read, at: int, n_bytes: int, where: str) -> None:
    if any(read(at, min(at + _BEHIND_BYTES, n_bytes))):
        raise SourceError(
            f"{where}: goes on behind its end at byte {at}, as tars do that `cat` put together; put them together with "
            "`tar --concatenate`, or keep them apart"
        )
