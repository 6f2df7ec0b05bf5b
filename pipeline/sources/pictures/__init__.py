"""Pictures without labels, in folders or in tars, with or without captions: the source `pictures`."""

from pipeline.sources.pictures.source import PicturesSource, build
from pipeline.sources.pictures.tars import PicturesInTars

__all__ = ["PicturesInTars", "PicturesSource", "build"]
