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
    """(arrays, info) of a table; CorruptShard if either file is not the one that was written."""
    payloads = []
    for suffix, expected in (("safetensors", record.sha256), ("json", record.info_sha256)):
        name = f"{TABLES}/{record.name}.{suffix}"
        payloads.append(folder.read(name, expected))
    return safetensors.numpy.load(payloads[0]), parse_json(payloads[1], record.name)


def load_table(url: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, info) of a table outside a set, at a path or URL: of either file, or without their suffix.

    Raises:
        IncompleteSet: one of the two files is missing.
        CorruptShard: the arrays cannot be read, or have different lengths.
    """
    folder, name = _split(url)
    name = name.removesuffix(".safetensors").removesuffix(".json")
    files = open_folder(folder)
    try:
        arrays = safetensors.numpy.load(_read(files, f"{name}.safetensors"))
    except SafetensorError as error:
        raise CorruptShard(f"{name}.safetensors in {files}: {error}; build the table again") from error
    if len({len(array) for array in arrays.values()}) != 1:
        raise CorruptShard(f"{name}.safetensors in {files}: not a table, its arrays differ in length")
    return arrays, parse_json(_read(files, f"{name}.json"), f"{name}.json")


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
