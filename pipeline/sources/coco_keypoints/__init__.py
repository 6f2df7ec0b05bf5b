"""COCO persons with their keypoints: the source `coco_keypoints`."""

from pipeline.sources.coco_keypoints.source import CocoKeypointsSource, build

__all__ = ["CocoKeypointsSource", "build"]
