"""`sd_vae`, which says when it is called first, and what its process has spent by then.

Private to `benchmarks.build_start`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from pipeline.encoders import ImageEncoder, ImageFacts, sd_vae


def describe(model: str, **other: Any) -> ImageFacts:
    """What is known without weights."""
    return sd_vae.describe(model)


def build(told: str, model: str, device: str = "cpu") -> ImageEncoder:
    """The encoder.

    Args:
        told: file that the first call writes.
        model: of `sd_vae`.
    """
    made: Any = sd_vae.build(model, device=device)
    encode = made.encode_levels

    def marked(levels: Any) -> Any:
        if not Path(told).exists():
            part = Path(f"{told}.part")
            part.write_text(json.dumps({"cpu_s": time.process_time(), "time": time.time(), "pid": os.getpid()}))
            part.rename(told)
        return encode(levels)

    made.encode_levels = marked
    return made
