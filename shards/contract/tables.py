"""Tables: small arrays that belong to the whole set, e.g. one text state per class, with the prompts they
came from.

`tables/<name>.safetensors` holds the arrays, `tables/<name>.json` says what they are. All arrays of a table
have the same number of rows. The same pair of files may lie outside a set, to be shared by several.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from shards.contract.canonical import canonical_json, parse_json
from shards.contract.manifest import TableEntry
from shards.contract.schema import check_key
from shards.errors import CorruptShard, IncompleteSet, SchemaMismatch
from shards.storage.atomic import sha256_bytes
from shards.storage.storage import Folder, open_folder

TABLES = "tables"


def write_table(
    root: Path | str | Folder,
    name: str,
    arrays: Mapping[str, np.ndarray],
    info: Mapping[str, Any],
) -> TableEntry:
    """Write one table into the set folder `root`, a path or URL; hand the result to `seal_set`."""
    return _write(open_folder(root), f"{TABLES}/", name, arrays, info)


def save_table(path: Path | str, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> TableEntry:
    """Write a table as `<path>.safetensors` and `<path>.json`, replacing one of that name.

    Raises:
        SchemaMismatch: arrays of different lengths, a name that is not a key, or an info that JSON cannot hold.
    """
    folder, name = _split(path)
    return _write(open_folder(folder), "", name, arrays, info)


def _write(
    files: Folder, below: str, name: str, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]
) -> TableEntry:
    check_key(name)
    rows = {len(array) for array in arrays.values()}
    if len(rows) != 1:
        raise SchemaMismatch(f"table {name}: arrays have {sorted(rows)} rows, expected the same for all")
    # safetensors stores the buffer as it lies, so a transposed array would come back with its rows mixed up
    payload = safetensors.numpy.save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    text = canonical_json(dict(info), f"table {name}", indent=1) + b"\n"
    files.write(f"{below}{name}.safetensors", payload)
    files.write(f"{below}{name}.json", text)
    return TableEntry(name, sha256_bytes(payload), rows.pop(), sha256_bytes(text))


def read_table(folder: Folder, record: TableEntry) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, info) of a table; CorruptShard if either file is not the one that was written, or is no table."""
    payloads = []
    for suffix, expected in (("safetensors", record.sha256), ("json", record.info_sha256)):
        name = f"{TABLES}/{record.name}.{suffix}"
        payloads.append(folder.read(name, expected))
    arrays = _arrays(payloads[0], f"{TABLES}/{record.name}.safetensors in {folder}")
    if (rows := len(next(iter(arrays.values())))) != record.rows:
        raise CorruptShard(
            f"{TABLES}/{record.name}.safetensors in {folder}: has {rows} rows, the manifest says {record.rows}; "
            "build the table again"
        )
    return arrays, _info(payloads[1], f"{TABLES}/{record.name}.json in {folder}")


def load_table(url: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, info) of a table outside a set, at a path or URL: of either file, or without their suffix.

    Raises:
        IncompleteSet: one of the two files is missing.
        CorruptShard: the arrays cannot be read, or have different lengths.
    """
    folder, name = _split(url)
    name = name.removesuffix(".safetensors").removesuffix(".json")
    files = open_folder(folder)
    arrays = _arrays(_read(files, f"{name}.safetensors"), f"{name}.safetensors in {files}")
    return arrays, _info(_read(files, f"{name}.json"), f"{name}.json in {files}")


def _arrays(payload: bytes, where: str) -> dict[str, np.ndarray]:
    try:
        arrays = safetensors.numpy.load(payload)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:  # the last three: types that NumPy has not
        raise CorruptShard(f"{where}: {error}; build the table again") from error
    if len({array.shape[:1] for array in arrays.values()}) != 1 or not all(array.ndim for array in arrays.values()):
        raise CorruptShard(f"{where}: not a table, its arrays differ in length; build the table again")
    return arrays


def _info(payload: bytes, where: str) -> dict[str, Any]:
    info = parse_json(payload, where)
    if not isinstance(info, dict):
        raise CorruptShard(f"{where}: is {type(info).__name__}, expected an object; build the table again")
    return info


def _split(path: str | Path) -> tuple[str, str]:
    """(folder, last part) of a path or URL."""
    folder, _, name = str(path).rpartition("/")
    return folder or ("/" if str(path).startswith("/") else "."), name


def _read(files: Folder, name: str) -> bytes:
    try:
        return files.read(name)
    except IncompleteSet as error:
        raise IncompleteSet(
            f"table {files}/{Path(name).stem}: no {name} in {files}; a table is the two files "
            "<name>.safetensors and <name>.json, as jobs/build_prompts.py writes them"
        ) from error
