"""Depth by label latents: the plug-in `depth_label_latents`. Loss and metric each have a module."""

from vpd.tasks.depth_label_latents.task import DepthLabelLatentsTask, build

__all__ = ["DepthLabelLatentsTask", "build"]
