"""From keys to shards: the plan, the recipe, one shard in stages, and the ledger of what is already done."""
