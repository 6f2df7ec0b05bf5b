"""Using a model: exact passes over a set, and pictures put together from the predictions of their views."""
