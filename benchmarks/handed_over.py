"""What a picture that a render worker hands over costs the encoder's process: the call, the object, its 0.8 MB.

    python -m benchmarks.handed_over            (a private Ray cluster of this machine; half a minute)

CPU milliseconds of all threads of the process that asks, beside those that rendering a picture of 640 x 480 takes
(`benchmarks.build_stages`: load and render), which it saves. Worker and asker share a machine here: between two, the
network and Ray's own process of each node carry the bytes besides. `benchmarks.build_pace --render-workers` plays a
build with this figure.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.render_crew import PIECE
from pipeline.building.elsewhere import Rendered
from pipeline.building.stages import RenderedExample
from shards.contract.origins import Origin

SIDE_PX, AHEAD = 512, 8  # pieces


def pieces(number: int) -> list[Rendered]:
    """So many records as a worker gives them."""
    image = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    return [
        Rendered(
            RenderedExample(f"key{one}", {"image_id": one}, ("a cup",), ((0, 1),), {}, [], [image.copy()]),
            Origin(f"key{one}"),
        )
        for one in range(number)
    ]


class _Worker:
    """Hands over what it made once."""

    def __init__(self) -> None:
        self._made = pieces(PIECE)

    def render(self, keys: Sequence[str]) -> list[Rendered]:
        assert len(keys) == PIECE
        return self._made


def measured_ms(pictures: int, rounds: int) -> float:
    """CPU milliseconds of this process for a picture, copied to where a batch is filled; the median of rounds."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        worker: Any = ray.remote(num_cpus=1)(_Worker).remote()
        row = np.empty((SIDE_PX, SIDE_PX, 3), np.uint8)
        found = []
        for _ in range(rounds + 1):  # the first warms up
            under_way: deque[Any] = deque()
            start = time.process_time()
            for _ in range(pictures // PIECE):
                under_way.append(worker.render.remote([f"key{one}" for one in range(PIECE)]))
                if len(under_way) == AHEAD:
                    received: Any = ray.get(under_way.popleft())
                    for one in received:
                        row[:] = one.outcome.images[0]
            for answer in under_way:
                ray.get(answer)
            found.append(1e3 * (time.process_time() - start) / pictures)
        return statistics.median(found[1:])
    finally:
        ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{measured_ms(options.pictures, options.rounds):.2f} CPU-ms a picture")


if __name__ == "__main__":
    main()
