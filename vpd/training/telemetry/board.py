"""What a run has drawn for TensorBoard, read back from its event files.

Owns the reading of pictures alone; curves are read from `log.jsonl`. Steps that a run went back behind are left out, as
TensorBoard leaves them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PICTURES = "pictures/"  # what their tags begin with


@dataclass(frozen=True)
class BoardPicture:
    """One picture at one step."""

    name: str  # of the record
    step: int
    encoded: bytes  # JPEG


def pictures_on(folder: str | Path) -> list[BoardPicture]:
    """All pictures in a folder of event files, by name and step."""
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

    few = {"scalars": 1, "tensors": 1, "histograms": 1, "compressedHistograms": 1, "audio": 1}
    read = EventAccumulator(str(folder), size_guidance={**few, IMAGES: 0}).Reload()
    found = [
        BoardPicture(tag.removeprefix(PICTURES), event.step, event.encoded_image_string)
        for tag in read.Tags()[IMAGES]
        if tag.startswith(PICTURES)
        for event in read.Images(tag)
    ]
    return sorted(found, key=lambda one: (one.name, one.step))
