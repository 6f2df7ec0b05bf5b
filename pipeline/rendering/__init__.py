"""Carrying out a recorded view (`shards.geometry`) on a picture: cut, resize, flip, recolour, pad."""
