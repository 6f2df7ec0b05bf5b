"""A set in somebody's own PyTorch loop: a map-style dataset, an iterable one, and a loader that resumes exactly.

Thin on `shards.reading`: orders, draws, hashes and errors are the stream's own. What is added here is what PyTorch
expects of a dataset: tensors that are the caller's, pickling, ranks, DataLoader workers, `state_dict`.
"""
