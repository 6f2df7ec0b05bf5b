"""Semantic segmentation: the plug-in `seg`. Labels, losses, metric and pictures each have a module."""

from vpd.tasks.seg.task import SegTask, build

__all__ = ["SegTask", "build"]
