"""The build side: official datasets in, shard sets out. Imports `shards` and nothing else of ours."""
