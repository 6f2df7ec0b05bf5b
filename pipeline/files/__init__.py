"""One file of a dataset as an array: photographs and label pictures, each decoded in one place only."""
