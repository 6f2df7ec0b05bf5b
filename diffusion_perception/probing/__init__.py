"""Probes over a sweep: which layer, at which timestep, with which prompt, holds what a task needs.

Owns the sweep's settings (`job`), its trials (`sweep`), one of them over shard sets (`on_sets`) or pairs of pictures
(`on_pairs`), and the table (`table`). What a probe learns is `vpd.probes`', a match `vpd.features.matching`'s; where
trials run is `jobs.probe`'s.
"""
