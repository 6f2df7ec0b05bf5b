"""The host of a GPU is at most one step ahead, so that no buffer is written over before its copy."""

from __future__ import annotations

from itertools import count

import torch

from vpd.training.step.run_ahead import RunAhead


def test_when_a_batch_is_asked_for_the_last_but_one_was_copied() -> None:
    done: list[str] = []
    numbers = count()

    class Marked:
        def __init__(self) -> None:
            self.number = next(numbers)

        def record(self) -> None:
            done.append(f"queued {self.number}")

        def synchronize(self) -> None:
            done.append(f"through with {self.number}")

    ahead = RunAhead(torch.device("cuda"), Marked)
    for _ in range(3):
        ahead.stepped()
    # batch 2 is asked for behind the second call, and frees the buffers of batch 0; and so on
    assert done == ["queued 0", "queued 1", "through with 0", "queued 2", "through with 1"]


def test_a_cpu_is_never_behind() -> None:
    def no_mark() -> torch.cuda.Event:
        raise AssertionError("asked for a place in the work of a GPU")

    RunAhead(torch.device("cpu"), no_mark).stepped()
