"""Depth in metres: the plug-in `depth`. Labels, loss, metric and pictures each have a module."""

from vpd.tasks.depth.task import DepthTask, build

__all__ = ["DepthTask", "build"]
