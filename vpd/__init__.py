"""The training side: backbone, heads, tasks, metrics, optimiser, loop. Knows shards, never the build side or Ray."""
