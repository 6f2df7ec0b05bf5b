"""Entries of an annotation file, read key by key: JSON in, checked values out.

Annotation files make millions of small objects, none of them garbage. Python's collector looks at all of them again and
again while they grow, which is two thirds of the time of reading; `without_collection` stops it for as long.

Owns what a key may hold and how a wrong one is said: file, entry, key, what was found and what was expected. Every
failure is a SourceError; whether it ends a build or costs the entry is the source's decision.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from pipeline.example import is_text
from pipeline.files.readable import contents
from shards.errors import SourceError


def read_bytes(path: Path) -> bytes:
    """A file's bytes; SourceError if it cannot be read."""
    try:
        return contents(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage is collected inside, in any thread. What was switched off stays off."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def parse_json(payload: bytes, where: str) -> Any:
    """The value of a JSON text, with or without a byte-order mark. SourceError naming `where`.

    Half of a UTF-16 pair in some text of the file does not make the file unreadable: `taken` refuses it where it is
    needed.
    """
    text = payload.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise SourceError(
                f"{where}: is not valid JSON ({error}). It may be cut short, or not be UTF-8: unpack or "
                "download it again, or save it as UTF-8"
            ) from error


def taken(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """entry[key], checked; bool does not pass for int, and text must be what UTF-8 can hold."""
    if type(entry) is dict and key in entry:
        value = entry[key]
        if type(value) is kind and (kind is not str or value.isascii()):
            return value  # almost always, in a third of the time of what follows
    if not isinstance(entry, dict):
        raise SourceError(f"{where}: is {type(entry).__name__}; expected a dict with the key {key!r}")
    if key not in entry:
        raise SourceError(f"{where}: the key {key!r} is missing; found {sorted(map(repr, entry))}")
    return checked(entry[key], kind, f"{where}: {key!r}")


def checked(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """`value` if it is of a kind; `what` opens the message."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
        names = " or ".join(k.__name__ for k in kinds)
        text = value.strip() if isinstance(value, str) else ""
        number = int in kinds and text.lstrip("-").isdigit()
        advice = f". It is the number as text: write {text} without quotes" if number else ""
        raise SourceError(f"{what} is {type(value).__name__}; expected {names}{advice}")
    if isinstance(value, str) and not is_text(value):
        raise SourceError(f"{what} is {value!r}: it holds half of a character, which UTF-8 cannot; write it anew")
    return value


def number(value: Any, what: str) -> int:
    """An id: a whole number, or one written as text. SourceError."""
    if isinstance(value, str) and value.strip().lstrip("-").isascii() and value.strip().lstrip("-").isdigit():
        return int(value)
    return checked(value, int, what)


def relative_name(name: str, what: str) -> str:
    """A file name below a folder, with / between its parts. SourceError: empty, absolute, or out of the folder."""
    plain = name.replace("\\", "/").removeprefix("./")
    path = PurePosixPath(plain)
    if not plain or "\0" in plain or path.is_absolute() or ".." in path.parts or plain[1:2] == ":":
        raise SourceError(f"{what} is {name!r}; expected a path below the folder, without a drive, / in front or ..")
    return path.as_posix()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
