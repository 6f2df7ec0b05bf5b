"""The network around a backbone: what the context comes from, the passes, the head, and the batch they are fed."""
