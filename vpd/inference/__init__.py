"""Using a model: exact passes over a set, and the outputs of one picture."""
