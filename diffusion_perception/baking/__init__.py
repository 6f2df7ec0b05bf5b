"""Baking: features of a shard set, computed once, as a set of the same keys beside it.

Owns the settings (`job`), what a baked set is (`contents`), its numbers (`forms`) and one shard (`baker`); and, for
whatever is made of a set shard by shard, a process that makes it (`maker`) and the set (`bake`). Which processes bake
is `jobs.features`' and `jobs.baking_crew`'.
"""
