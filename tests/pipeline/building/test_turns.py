"""Of two shards built at once the first has its first batch before the second decodes, which then does so meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.building.ledger import FinishedShard
from pipeline.building.plan import PlannedShard, plan_shards
from pipeline.building.shard import build_shard
from pipeline.building.stages import Turns
from pipeline.views import exact
from tests.pipeline.toys import SETTINGS, ToySource, ToyText, ToyVae

PATIENCE_S = 20.0
FIRST, SECOND = plan_shards(ToySource(8).keys("train"), 4, "toys")


class WaitingVae(ToyVae):
    """Its first batch is encoded when something else has happened."""

    def __init__(self, awaited: threading.Event) -> None:
        super().__init__()
        self.awaited = awaited

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        assert self.awaited.wait(PATIENCE_S), "the other shard does not decode while this one encodes"
        return super().encode(pixels)


def builder(folder: Path, vae: ToyVae, on_load: Callable[[str], None]) -> Callable[[PlannedShard], FinishedShard]:
    """Builds shards of the same turns."""
    turns, source = Turns(), ToySource(8, on_load=on_load)
    (folder / "_build").mkdir()

    def build(planned: PlannedShard) -> FinishedShard:
        text, plan = ToyText(), exact.build(32)
        return build_shard(planned, source, "train", plan, vae, text, folder, SETTINGS, turns=turns)

    return build


def test_first_batches_are_filled_one_after_the_other_and_encoding_waits_for_neither(tmp_path: Path) -> None:
    loading, go_on, second = threading.Event(), threading.Event(), threading.Event()

    def on_load(key: str) -> None:
        if key in SECOND.keys:
            second.set()
            return
        loading.set()
        assert go_on.wait(PATIENCE_S)

    build = builder(tmp_path, WaitingVae(second), on_load)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(build, FIRST)
        assert loading.wait(PATIENCE_S)
        two = pool.submit(build, SECOND)
        time.sleep(0.1)  # enough for it to begin, if it did
        assert not second.is_set()
        go_on.set()
        counts = [built.result().shard for built in (one, two)]
    assert [entry.records for entry in counts if entry] == [4, 4]


def test_a_shard_that_fails_leaves_its_turn(tmp_path: Path) -> None:
    def on_load(key: str) -> None:
        if key in FIRST.keys:
            raise OSError("the disk is gone")

    build = builder(tmp_path, ToyVae(), on_load)
    with pytest.raises(OSError, match="the disk is gone"):
        build(FIRST)
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(build, SECOND).result(PATIENCE_S)
    assert built.shard is not None
    assert built.shard.records == 4
