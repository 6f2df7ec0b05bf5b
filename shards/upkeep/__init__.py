"""Tools of finished sets, in folders and at URLs: copying, publishing, comparing, mending, merging and splitting."""
