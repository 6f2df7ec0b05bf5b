"""COCO's annotation files as semantic labels: the source `coco_segments`."""

from pipeline.sources.coco_segments.source import CocoSegmentsSource, build

__all__ = ["CocoSegmentsSource", "build"]
