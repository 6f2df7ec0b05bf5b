"""Producing a set: shards with deterministic bytes, the card, and the manifest that is written last."""
