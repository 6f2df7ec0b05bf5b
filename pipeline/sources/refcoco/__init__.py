"""RefCOCO, RefCOCO+ and RefCOCOg: the source `refcoco`, its annotation files and its masks."""

from pipeline.sources.refcoco.source import RefcocoSource, build

__all__ = ["RefcocoSource", "build"]
