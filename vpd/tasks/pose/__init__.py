"""Human pose: the plug-in `pose`. Heat maps, skeleton and metric each have a module."""

from vpd.tasks.pose.task import PoseTask, build

__all__ = ["PoseTask", "build"]
