"""Sources made of pairs, a picture and a label of its size; the datasets that are such pairs build on these."""
