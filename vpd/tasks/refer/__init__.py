"""Referring segmentation: the plug-in `refer`. Masks, metric and pictures each have a module."""

from vpd.tasks.refer.task import ReferTask, build

__all__ = ["ReferTask", "build"]
