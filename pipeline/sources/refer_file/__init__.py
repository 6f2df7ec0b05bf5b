"""One's own pictures, sentences and what they mean, in a JSON or JSONL file: the source `refer_file`."""

from pipeline.sources.refer_file.source import ReferFileSource, build

__all__ = ["ReferFileSource", "build"]
