"""Models in and out: folders of ours, diffusers folders, and the checkpoints of other projects."""
