"""The contract between the build side and the train side: what a shard set is, and how to read it exactly.

Imports nothing else of this project, no torch and no Ray. The names below are the public surface; the
submodules say the rest.
"""

from shards.batch import Batch, ItemView
from shards.cache import CacheConfig, ShardCache
from shards.errors import (
    ConfigError,
    ContractError,
    CorruptShard,
    DecodeFailed,
    FingerprintMismatch,
    IncompleteSet,
    Reject,
    SchemaMismatch,
    SourceError,
)
from shards.manifest import Manifest, ShardRecord, TableRecord, fingerprint, recipe_difference
from shards.order import Order
from shards.reader import ItemRef, RecordView, ShardSet
from shards.schema import Field, Record, Schema
from shards.stream import BatchStream
from shards.tables import load_table, save_table, write_table
from shards.window import WindowedOrder
from shards.writer import finalize_set, write_shard

__all__ = [
    "Batch",
    "BatchStream",
    "CacheConfig",
    "ConfigError",
    "ContractError",
    "CorruptShard",
    "DecodeFailed",
    "Field",
    "FingerprintMismatch",
    "IncompleteSet",
    "ItemRef",
    "ItemView",
    "Manifest",
    "Order",
    "Record",
    "RecordView",
    "Reject",
    "Schema",
    "SchemaMismatch",
    "ShardCache",
    "ShardRecord",
    "ShardSet",
    "SourceError",
    "TableRecord",
    "WindowedOrder",
    "finalize_set",
    "fingerprint",
    "load_table",
    "recipe_difference",
    "save_table",
    "write_shard",
    "write_table",
]
