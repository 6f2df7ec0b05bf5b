"""Refs in REFER's form with several targets or none, and free names: the source `refer_folder`, as for gRefCOCO."""

from pipeline.sources.refer_folder.source import ReferFolderSource, build

__all__ = ["ReferFolderSource", "build"]
