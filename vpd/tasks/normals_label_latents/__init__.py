"""Surface normals by label latents: the plug-in `normals_label_latents`. The scores have a module."""

from vpd.tasks.normals_label_latents.task import NormalsLabelLatentsTask, build

__all__ = ["NormalsLabelLatentsTask", "build"]
