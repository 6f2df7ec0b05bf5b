"""Predictions of a trained model: on pictures in memory, and on files, folders and videos by the command `predict`."""
