"""A checkpoint as files: weights, state and a marker written last, each of the size and hash that it says."""
