"""An answer of a task as files: drawn with its legend below it, or as the numbers themselves.

Owns how the settings of a prediction become a task's `Style`, and that a file appears whole. What is drawn is the
task's; names and folders are `outputs`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.outputs import written

if TYPE_CHECKING:
    from vpd.drawing.style import Legend, Style
    from vpd.tasks import Task


def style_of(job: PredictJob, names: Sequence[str], number: int) -> Style:
    """The style of the answer to a sentence, by its number."""
    from vpd.drawing.style import Style

    sentence = job.asked[number] if job.asked else ""
    return Style(tuple(names), sentence, job.colormap, job.focal_px, job.fov_deg, job.near_m, job.far_m)


def write_drawn(
    job: PredictJob, task: Task, image: np.ndarray, answer: np.ndarray, style: Style, legend: Legend, out: Path
) -> None:
    """Draw an answer and write the picture."""
    from PIL import Image

    from vpd.drawing.strip import with_legend

    drawn = task.draw(image, answer, style)
    with written(out) as path:
        Image.fromarray(with_legend(drawn, legend) if job.legend else drawn).save(path)


def write_export(task: Task, image: np.ndarray, answer: np.ndarray, style: Style, out: Path) -> None:
    """Write the answer itself, in the format of the suffix."""
    with written(out) as path:
        task.export(answer, path, image, style)


def printable(text: str) -> str:
    """Text that any terminal takes: what is no character of a file's name is shown as its code."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
