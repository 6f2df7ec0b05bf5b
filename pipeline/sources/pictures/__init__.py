"""Pictures without labels, with or without captions: the source `pictures`."""

from pipeline.sources.pictures.source import PicturesSource, build

__all__ = ["PicturesSource", "build"]
