"""What a shard set is, byte for byte: fields and their codecs, the index beside each tar, the manifest, tables.

Knows no folder layout beyond names and does no reading ahead; `shards.writing` produces what these modules describe,
`shards.reading` gives it out again.
"""
