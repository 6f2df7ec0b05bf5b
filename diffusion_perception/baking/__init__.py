"""Baking: features of a shard set or of pictures, computed once, as a set of the same keys.

Owns the settings (`job`), what a baked set is (`contents`), its numbers (`forms`), one shard (`baker`), and the latents
of pictures that are no set (`from_pictures`); and, for
whatever is made of a set shard by shard, a process that makes it (`maker`) and the set (`bake`). Which processes bake
is `jobs.features`' and `jobs.baking_crew`'.
"""
