"""One fault: ways to break a file and put it back, and values that a setting of some type should not have.

Owns what can go wrong; what must come of it is `test_one_fault`'s.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KINDS = ("half", "empty", "flip", "folder", "removed", "picture", "numbers", "text", "json", "edited")
REPLACED: tuple[Any, ...] = (None, -1, 0, "x", "", [], {}, True, 1e308, 2**70, "\ud800", [[1]], {"a": 1})
NUMBERS = ("0", "-1", "0.5", "3", "true", "nan", "inf", "1e400", "99999", "9" * 20)
TEXTS = ("", "x", "..", "\ud800", "a\0b", "~nobody-here/x", "names.txt", "data", "out", "a/b://c", "9" * 300, "[")
LISTS = ("[]", "[x, x]", "[1, [2]]", "[null]", "[-1]", "[nan, 0]", "[true]")
MAPPINGS = ("{}", "{a: b}", "{name: x}", "{name: [1]}", "{1: 2}", "{train: null}", "{train: 0}", "{x: {y: z}}")
ANYTHING = ("null", "{", "!!python/x y", "&a [*a]")


@contextlib.contextmanager
def broken(path: Path, kind: str, at: float, aside: Path) -> Iterator[None]:
    """The file broken inside, and as it was afterwards.

    Args:
        at: which byte or which value of a JSON file, from 0 to 1.
        aside: where the whole file waits, outside of everything a command reads.
    """
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    kept = path.rename(aside / path.name)
    try:
        content = kept.read_bytes()
        if kind == "folder":
            path.mkdir()
        elif kind != "removed":
            path.write_bytes(_contents(content, kind, at))
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)  # `out/` may have been made anew
        kept.rename(path)


def _contents(content: bytes, kind: str, at: float) -> bytes:
    buffer = io.BytesIO()
    if kind == "half":
        return content[: int(len(content) * at)]
    if kind == "empty":
        return b""
    if kind == "flip":
        place = min(int(len(content) * at), len(content) - 1)
        return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
    if kind == "picture":
        Image.new("RGB", (7, 9), (9, 99, 199)).save(buffer, "PNG")
    elif kind == "numbers":
        np.save(buffer, np.arange(6.0).reshape(2, 3))
    elif kind == "text":
        buffer.write(b"a line, b\n\xff\xfe not utf-8\n")
    elif kind == "json":
        buffer.write(b'[{"a": 1e999, "b": NaN}, [], "\\ud800"]')
    elif kind == "edited":
        buffer.write(_edited(content, at))
    return buffer.getvalue()


def _edited(content: bytes, at: float) -> bytes:
    """JSON with one value replaced or one key dropped; other files with a line twice."""
    try:
        said = json.loads(content)
    except ValueError:
        lines = content.split(b"\n")
        line = int(len(lines) * at) % len(lines)
        return b"\n".join([*lines[: line + 1], *lines[line:]])
    places = list(_places(said))
    if not places:
        return b"3"
    chosen = int(len(places) * len(REPLACED) * at)
    where, key = places[chosen % len(places)]
    new = (*REPLACED, KeyError)[(chosen // len(places)) % (len(REPLACED) + 1)]
    if new is KeyError:
        del where[key]
    else:
        where[key] = new
    return json.dumps(said).encode()


def _places(said: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(said) if isinstance(said, dict) else range(len(said)) if isinstance(said, list) else ()
    for key in keys:
        yield said, key
        yield from _places(said[key])


def leaves(schema: Mapping[str, Any], part: Mapping[str, Any] | None = None, at: str = "") -> Iterator[tuple[str, str]]:
    """(Setting, kind of value): of every section, and of the plug-ins that could be there."""
    part = schema if part is None else part
    for name, inner in part.get("properties", {}).items():
        if isinstance(inner, dict) and name not in ("base", "name") and at.count(".") < 3:
            yield f"{at}{name}", kind_of(inner)
            for option in _options(schema, inner):
                yield from leaves(schema, option, f"{at}{name}.")


def _options(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in part:
        found = schema["definitions"].get(part["$ref"].removeprefix("#/definitions/"))
        yield from _options(schema, found) if found else ()
    elif "properties" in part:
        yield part
    for several in ("allOf", "anyOf", "oneOf"):
        for each in part.get(several, ()):
            yield from _options(schema, each)


def kind_of(part: Mapping[str, Any]) -> str:
    """The JSON type a schema names first, or a mapping where it is a plug-in's."""
    inner = next((each for several in ("allOf", "anyOf", "oneOf") for each in part.get(several, ())), {})
    said = part.get("type") or (kind_of(inner) if inner else "string" if "enum" in part else "object")
    return said if isinstance(said, str) else said[0]


def values_of(kind: str) -> tuple[str, ...]:
    """Values for a setting: of its type at the edge, and of none of its types."""
    own = {"integer": NUMBERS, "number": NUMBERS, "array": LISTS, "object": MAPPINGS, "boolean": ("2", "maybe", "")}
    return (*own.get(kind, TEXTS), *own.get(kind, TEXTS), *TEXTS, *LISTS[:3], *MAPPINGS[:3], *NUMBERS[:4], *ANYTHING)
