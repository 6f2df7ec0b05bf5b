"""python -m shards.inspect PLACE [--record N]: what is in a set, in a folder or at a URL, for a person.

Prints the schema, the counts, the recipe, where the bytes go, and one record. Reads only the manifest, the
indexes and that record; whether all bytes are sound is `verify`'s question.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from shards.contract.canonical import canonical_json
from shards.errors import ContractError
from shards.reading.reader import ShardSet, StoredRecord
from shards.writing.card import schema_table

_SHOWN_CHARACTERS = 2000


def describe(shards: ShardSet, record: int = 0) -> str:
    """The report as text; IndexError if there is no such record."""
    manifest = shards.manifest
    tar_bytes = sum(shard.tar_bytes for shard in manifest.shards)
    tables = ", ".join(f"{table.name} ({table.rows} rows)" for table in manifest.tables) or "none"
    counts = ", ".join(f"{number:,} {name}" for name, number in sorted(manifest.counts.items()))
    return "\n\n".join(
        [
            f"{manifest.name}, split {manifest.split}: {len(manifest.shards)} shards, {tar_bytes:,} bytes\n"
            f"counts: {counts}\ntables: {tables}\nfingerprint: {manifest.fingerprint}",
            schema_table(manifest),
            f"an item is a run of rows of axis {manifest.schema.item_axis}",
            _bytes_table(shards, tar_bytes),
            f"recipe\n{canonical_json(manifest.recipe, 'recipe', indent=2).decode()}",
            _describe_record(shards.record(record), shards.items_of_record(record)),
        ]
    )


def _bytes_table(shards: ShardSet, tar_bytes: int) -> str:
    lines = [f"{'field':16}{'bytes':>16}{'share':>8}{'bytes/record':>14}"]
    rest = tar_bytes
    for field in shards.schema.fields:
        total = int(shards.index.fields[field.name].length.sum())
        rest -= total
        lines.append(_bytes_line(field.name, total, tar_bytes, shards.n_records))
    return "\n".join([*lines, _bytes_line("tar structure", rest, tar_bytes, shards.n_records)])


def _bytes_line(name: str, n_bytes: int, tar_bytes: int, n_records: int) -> str:
    return f"{name:16}{n_bytes:16,}{n_bytes / max(1, tar_bytes):8.1%}{n_bytes / max(1, n_records):14,.0f}"


def _describe_record(record: StoredRecord, items: range) -> str:
    lines = [f"record {record.number}: {record.key}, items {items.start} to {items.stop - 1}"]
    for field in record.shards.schema.fields:
        if field.codec == "npy":
            array = record.array(field.name)
            spread = _spread(array.astype(np.float64)) if array.size else "no rows"
            lines.append(f"  {field.member:16} {array.dtype} {list(array.shape)} {spread}")
        elif field.codec != "json":
            lines.append(f"  {field.member:16} {len(record.payload(field.name)):,} bytes")
    text = canonical_json(record.meta, "meta", indent=2).decode()
    cut = (
        text
        if len(text) <= _SHOWN_CHARACTERS
        else f"{text[:_SHOWN_CHARACTERS]}\n… {len(text) - _SHOWN_CHARACTERS} more"
    )
    return "\n".join([*lines, "  meta.json", cut])


def _spread(values: np.ndarray) -> str:
    return f"{values.min():.4g} to {values.max():.4g}, mean {values.mean():.4g}"


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 1 with one line if the set cannot be opened."""
    parser = argparse.ArgumentParser(prog="python -m shards.inspect", description="Show what a set holds.")
    parser.add_argument("place", help="folder or URL of the set: the one that holds manifest.json")
    parser.add_argument("--record", type=int, default=0, metavar="N", help="number of the record to show")
    options = parser.parse_args(arguments)
    try:
        print(describe(ShardSet.open(options.place, by_range=True), options.record))
    except (ContractError, IndexError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
