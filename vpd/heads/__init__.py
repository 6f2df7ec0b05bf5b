"""Heads: from the levels of a `FeatureSpec` to a dense prediction. A head knows the spec, never the backbone."""
