"""What `predict` costs around the model: seconds a picture on 100 pictures, beside the bare forward pass.

    python -m benchmarks.predict          # a tiny depth model on the CPU, three interleaved rounds, medians
    python -m benchmarks.predict RUN      # a model of yours, on the GPU where there is one

The bare pass is what no prediction can do without: encoder and model on the views of all pictures, already rendered
and in memory, in the same batches. The whole reads the pictures from disk, cuts and encodes them, puts the windows
together, draws, and writes a drawing and the 16-bit depth of each. Loading the model is timed once, beside both.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from demo.tiny_model import write_tiny_model
from demo.tiny_sd import write_tiny_sd
from diffusion_perception.predicting.command import predict
from diffusion_perception.predicting.job import PredictJob
from diffusion_perception.predicting.picture_record import as_pixels
from diffusion_perception.predicting.predictor import Predictor
from vpd.inference.evaluate import outputs_of
from vpd.inference.packing import kind_of
from vpd.model.device_batch import Encoders
from vpd.training.step.numerics import autocast_of

PICTURES, ROUNDS = 100, 3
HEIGHT, WIDTH = 96, 128


def write_pictures(folder: Path) -> list[Path]:
    """Smooth noise as JPEG files."""
    random, paths = np.random.default_rng(0), []
    for number in range(PICTURES):
        small = Image.fromarray(random.integers(0, 256, (6, 8, 3)).astype(np.uint8))
        paths.append(folder / f"{number:03d}.jpg")
        small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(paths[-1], quality=92)
    return paths


def bare(predictor: Predictor, paths: list[Path]) -> Callable[[], None]:
    """Encoder and model on the views of the pictures, in the batches of a prediction."""
    from diffusion_perception.predicting.encoding import rendered
    from diffusion_perception.predicting.picture_record import Question

    size = 4 if predictor.device.type == "cpu" else predictor.trained.data.eval_batch_size
    reads = [predictor.encoding.read(path, Question(), whole=False) for path in paths]
    shown = [row for one in reads for row in rendered(one)]
    records = [one.record for one in predictor.encoding.encoded(reads, Question(), size)]
    samples = [(record, predictor.task.samples(record)) for record in records]
    autocast = autocast_of(predictor.trained.precision, predictor.device)

    def run() -> None:
        with torch.inference_mode():
            for first in range(0, len(shown), size):
                predictor.encoding.image.encode(np.stack(shown[first : first + size]))
            model, task = predictor.trained.model, predictor.task
            for _ in outputs_of(model, task, samples, size, predictor.device, Encoders(), autocast, kind_of):
                pass
            if predictor.device.type == "cuda":
                torch.cuda.synchronize()

    return run


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    """Measure and print; 0."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = sys.argv[1] if len(sys.argv) > 1 else str(folder / "model")
        if len(sys.argv) == 1:
            write_tiny_sd(folder / "sd", widths=(16, 32, 32, 32))
            table = {"tokens": 1, "class_table": (3, 64), "class_names": ("a", "b", "c")}
            write_tiny_model(folder / "model", folder / "sd", task={"name": "depth"}, **table)
        (folder / "photos").mkdir()
        paths = write_pictures(folder / "photos")
        assert as_pixels(paths[0]).shape == (HEIGHT, WIDTH, 3)
        loaded_s = timed(lambda: Predictor(run))
        forward = bare(Predictor(run), paths)
        forward()  # warms up
        seconds: dict[str, list[float]] = {"bare forward pass": [], "whole prediction": []}
        for number in range(ROUNDS):
            seconds["bare forward pass"].append(timed(forward))
            job = PredictJob(run, images=str(folder / "photos"), into=str(folder / f"out-{number}"), exports=(".png",))
            seconds["whole prediction"].append(timed(lambda job=job: predict(job, run)) - loaded_s)
        medians = {name: statistics.median(times) / PICTURES for name, times in seconds.items()}
        views = len(Predictor(run).plan.views("", HEIGHT, WIDTH))
        print(f"{PICTURES} pictures of {HEIGHT} x {WIDTH}, {views} views each, {ROUNDS} interleaved rounds")
        print(f"  model loaded once in {loaded_s:.2f} s")
        for name, median in medians.items():
            times = ", ".join(f"{total / PICTURES:.4f}" for total in seconds[name])
            print(f"  {name:<20}{median:.4f} s a picture   ({times})")
        print(f"  ratio {medians['whole prediction'] / medians['bare forward pass']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
