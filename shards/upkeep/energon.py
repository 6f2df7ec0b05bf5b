"""What Megatron Energon reads beside the tars of a set: a folder `.nv-meta`, and where each record begins in its tar.

Energon's own `prepare` would walk every tar for that; the set's indexes know it already. Nothing of the set itself is
changed, and nothing here is read by this project, nor kept up with a set that is replaced.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from shards.contract.index import ShardIndex
from shards.contract.manifest import Manifest
from shards.contract.schema import META
from shards.storage.options import StorageOptions
from shards.storage.storage import open_folder

FOLDER = ".nv-meta"
_BLOCK_BYTES = 512  # that members of a tar are filled up to
_PARTS = ("train", "val", "test")  # a set is one split: whichever of these is asked for gets all of it
_DATASET = "__module__: megatron.energon\n__class__: CrudeWebdataset\n"  # records as they are, for one's own cooker


def describe_for_energon(place: str | Path, storage_options: StorageOptions | None = None) -> list[str]:
    """Write what Energon needs into the folder or URL of a finished set; the names of the files.

    Raises:
        IncompleteSet: no set is there.
        CorruptShard: an index is not the one of the manifest.
        ConfigError: nothing can be written there.
    """
    folder = open_folder(place, storage_options=storage_options)
    manifest = Manifest.load(folder)
    folder.check_writable()
    counts, written = {}, []
    for shard in manifest.shards:
        index = ShardIndex.load(folder.read(f"{shard.name}.idx", shard.idx_sha256), manifest.schema, shard.name)
        meta = index.fields[META]  # the last member of a record
        ends = meta.offset + meta.length
        ends += -ends % np.uint64(_BLOCK_BYTES)
        begins = np.concatenate([np.zeros(1, np.uint64), ends])  # u64 [R + 1], the end of the last one too
        folder.write(f"{shard.name}.tar.idx", begins.astype("<u8").tobytes())
        counts[f"{shard.name}.tar"] = shard.records
        written.append(f"{shard.name}.tar.idx")
    below = folder.below(FOLDER)
    files = {
        ".info.json": json.dumps({"shard_counts": counts}, indent=1),
        "split.yaml": json.dumps({"split_parts": {part: list(counts) for part in _PARTS}, "exclude": []}, indent=1),
        "dataset.yaml": _DATASET,
    }
    for name, text in files.items():
        below.write(name, text.encode())
    return [*written, *(f"{FOLDER}/{name}" for name in files)]
