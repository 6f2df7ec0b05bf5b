"""Baking: features of a shard set, computed once, as a set of the same keys beside it.

Owns the settings (`job`), what a baked set is (`contents`), its numbers (`forms`), one shard (`baker`) and the set
(`bake`). Which processes bake is `jobs.features`'.
"""
