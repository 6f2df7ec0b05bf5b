"""Builds without Ray: their settings, what `init` and `check` make of a folder, and one builder's share of the work."""
