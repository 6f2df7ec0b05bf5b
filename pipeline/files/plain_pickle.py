"""A pickle of plain values, from wherever: lists, dicts, numbers and text, nothing that runs, hangs or takes memory.

Owns what a pickle may hold. It is looked through before it is loaded, since Python's unpickler does as a file says: it
calls what is named, reserves room for a memo of any size, and hashes tuples of tuples, 2^n of them in n steps. What the
values mean is the sources'.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
from pathlib import Path
from typing import Any

from shards.errors import SourceError

_ADVICE = "A refs file holds only lists, dicts, numbers and text"
_LEFT_TO_THE_UNPICKLER = b"ci\x93PQ"  # name an object, or one outside the file: refused by name when they are met
_LENGTHS = {  # text and bytes behind their length
    **dict.fromkeys(b"U\x8cC", struct.Struct("<B")),
    **dict.fromkeys(b"TXB", struct.Struct("<I")),
    **dict.fromkeys(b"\x8d\x8e", struct.Struct("<Q")),
}
_PUT = re.compile(rb"p([0-9]{1,18})\n")
_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_STOP, _TEXT_PUT = ord("."), ord("p")


def unpickle_plain(payload: bytes, path: Path) -> Any:
    """Loads a pickle made of lists, dicts, numbers and text only; never imports or calls anything.

    Python 2 wrote text as byte strings. Where those are not ASCII they are read as latin1, which keeps every byte.
    Raises SourceError for anything else found in the file, and for a damaged file.
    """
    try:
        _look_through(payload, path)
        try:
            return _PlainUnpickler(payload, path, "ASCII").load()
        except UnicodeDecodeError:
            return _PlainUnpickler(payload, path, "latin1").load()
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError),
        *(AttributeError, TypeError, OverflowError, MemoryError, RecursionError),
    ) as error:
        raise SourceError(
            f"{path}: is not a readable pickle ({type(error).__name__}: {error}). It may be cut short, or an error "
            "page saved under this name: download it again."
        ) from error


def _look_through(payload: bytes, path: Path) -> None:
    """SourceError or ValueError unless every instruction is one of plain values, with no number beyond the file."""
    simple, n_bytes, at = _simple(len(payload)), len(payload), 0
    while at < n_bytes:
        run = simple.match(payload, at)
        at = run.end() if run else at
        if at >= n_bytes:
            break
        code = payload[at]
        if code == _STOP or code in _LEFT_TO_THE_UNPICKLER:
            return
        if code in _LENGTHS:
            form = _LENGTHS[code]
            if at + 1 + form.size > n_bytes:
                break
            (length,) = form.unpack_from(payload, at + 1)
            at += 1 + form.size + length
        elif code == _TEXT_PUT and (put := _PUT.match(payload, at)) and int(put[1]) <= n_bytes:
            at = put.end()
        else:
            _refuse(payload, at, path)
    raise ValueError("it ends before its end")


def _simple(n_bytes: int) -> re.Pattern[bytes]:
    """Runs of instructions of fixed form, in a file of so many bytes: a memo has no more places than that."""
    *_, third, top = n_bytes.to_bytes(4, "little") if n_bytes < 2**32 else b"\xff" * 4
    below = rb"|...[\x00-%s]" % re.escape(bytes([top - 1])) if top else b""
    memo = rb"..[\x00-%s]%s%s" % (re.escape(bytes([third])), re.escape(bytes([top])), below)
    forms = (
        rb"\(t",
        rb"[()\]}Naesuld012\x88\x89\x94]",  # containers, None, True, False, the stack; tuples only if they are empty
        rb"\x80[\x00-\x05]",
        rb"[hqK].",
        rb"M..",
        rb"[Jj]....",
        rb"r(?:%s)" % memo,
        rb"[G\x95].{8}",
        *(rb"\x8a\x%02x.{%d}" % (size, size) for size in range(17)),
        rb"[IL][+-]?[0-9]{1,20}L?\n",
        rb"F[-+.0-9a-zA-Z]{1,40}\n",
        rb"[SV][^\n]*\n",
        rb"g[0-9]{1,18}\n",
    )
    return re.compile(rb"(?:%s){1,1000}" % b"|".join(forms), re.DOTALL)


def _refuse(payload: bytes, at: int, path: Path) -> None:
    known = _NAMES.get(payload[at])
    if known is None or payload[at] in b"pr\x80IFLg":
        raise ValueError(f"byte {at} is {payload[at : at + 8]!r}")
    raise SourceError(
        f"{path}: holds {known} at byte {at}, which is no plain value (a tuple, a set, an object). {_ADVICE}, so "
        "it was not loaded: a few bytes of anything else can take all memory, run for ever or run code. Write it again "
        "with lists"
    )


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, payload: bytes, path: Path, encoding: str) -> None:
        super().__init__(io.BytesIO(payload), encoding=encoding)
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise SourceError(
            f"{self._path}: asks for the Python object {module_name}.{global_name}. {_ADVICE}, so this one can run "
            "code and was not loaded. Download it from a source you trust."
        )

    def persistent_load(self, pid: Any, /) -> Any:
        raise SourceError(
            f"{self._path}: refers to an object outside the file (persistent id {str(pid)[:80]!r}). {_ADVICE}. "
            "Download it again from a source you trust."
        )
