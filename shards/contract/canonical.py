"""One way to turn a value into JSON, so that equal values give equal bytes and equal fingerprints.

Sorted keys, no NaN or infinity, UTF-8, no spaces. Python's `json` would quietly turn the key 1 into "1"; here
that is an error, because the value read back would differ from the value written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from shards.errors import SchemaMismatch


def canonical_json(value: Any, where: str = "value", *, indent: int | None = None, is_parsed: bool = False) -> bytes:
    """Canonical UTF-8 JSON of a tree of dict, list, tuple, str, int, float, bool and None.

    `where` names the value in error messages. `is_parsed`: it comes from JSON, so all its keys are texts. Raises
    SchemaMismatch for anything JSON cannot hold exactly.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        if not is_parsed:
            _check_keys(value, where)
        text = json.dumps(
            value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=separators, indent=indent
        )
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaMismatch(
            f"{where}: cannot be written as JSON ({error}); use dict, list, str, int, float, bool, None"
        ) from error


def parse_json(payload: bytes | memoryview, where: str) -> Any:
    """The value of a JSON text; SchemaMismatch naming `where` if it is not JSON."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise SchemaMismatch(f"{where}: is not valid JSON ({error})") from error


def parse_meta(payload: bytes | memoryview, key: str) -> dict[str, Any]:
    """The meta of record `key`."""
    meta = parse_json(payload, f"{key}.meta.json")
    if not isinstance(meta, dict):
        raise SchemaMismatch(f"{key}.meta.json: is {type(meta).__name__}; expected an object")
    return meta


def _check_keys(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise SchemaMismatch(f"{where}: key {key!r} is {type(key).__name__}; JSON keys must be str")
            _check_keys(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            if isinstance(inner, Mapping | list | tuple):
                _check_keys(inner, where)
