"""Giving a set out again: random access, the seeded order of an epoch, and the stream of batches in that order."""
