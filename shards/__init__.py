"""The contract between the build side and the train side: what a shard set is, and how to read it exactly.

Imports nothing else of this project, no torch and no Ray. The names below are the public surface; the
submodules say the rest.
"""

from shards.contract.manifest import Manifest, ShardEntry, TableEntry, fingerprint, recipe_difference
from shards.contract.schema import Field, Record, Schema
from shards.contract.tables import load_table, save_table, write_table
from shards.errors import (
    ConfigError,
    ContractError,
    CorruptShard,
    FingerprintMismatch,
    IncompleteSet,
    LabelsFailed,
    Reject,
    SchemaMismatch,
    SourceError,
    StoreFailed,
)
from shards.reading.batch import Sample, SampleBatch
from shards.reading.order import Order
from shards.reading.reader import ItemRef, ShardSet, StoredRecord
from shards.reading.stream import BatchStream
from shards.reading.window import WindowedOrder
from shards.storage.cache import CacheConfig, ShardCache
from shards.writing.writer import seal_set, write_shard

__all__ = [
    "BatchStream",
    "CacheConfig",
    "ConfigError",
    "ContractError",
    "CorruptShard",
    "Field",
    "FingerprintMismatch",
    "IncompleteSet",
    "ItemRef",
    "LabelsFailed",
    "Manifest",
    "Order",
    "Record",
    "Reject",
    "Sample",
    "SampleBatch",
    "Schema",
    "SchemaMismatch",
    "ShardCache",
    "ShardEntry",
    "ShardSet",
    "SourceError",
    "StoreFailed",
    "StoredRecord",
    "TableEntry",
    "WindowedOrder",
    "fingerprint",
    "load_table",
    "recipe_difference",
    "save_table",
    "seal_set",
    "write_shard",
    "write_table",
]
