"""A user's own depth: the source `depth_folders`."""

from pipeline.sources.depth_folders.source import DepthFoldersSource, build

__all__ = ["DepthFoldersSource", "build"]
