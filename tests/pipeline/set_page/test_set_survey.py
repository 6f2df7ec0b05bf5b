"""Numbers of a set: those of all records from the indexes, those of some by reading them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.set_page.survey import BINS, spread, survey
from shards.reading.reader import ShardSet
from tests.shards.toy_set import toy_record, write_toy_set


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    root = tmp_path_factory.mktemp("sets") / "toy"
    write_toy_set(root)
    return ShardSet.open(root)


def test_records_are_drawn_evenly_with_both_ends() -> None:
    assert spread(12, 100) == list(range(12))
    assert spread(100, 3) == [0, 50, 99] or spread(100, 3) == [0, 49, 99]
    assert spread(5, 1) == [0]
    assert spread(0, 3) == []


def test_latents_are_those_of_the_records_that_were_read(toy: ShardSet) -> None:
    said: list[tuple[int, int]] = []
    found = survey(toy, [0, 5], lambda *counts: said.append(counts))
    assert said == [(1, 2), (2, 2)]
    values = np.concatenate([toy_record(number).values["latent"][:, 2].reshape(-1) for number in (0, 5)])
    channel = found.latents[2]
    assert channel.mean == pytest.approx(values.astype(np.float32).mean(), abs=1e-6)
    assert channel.largest == pytest.approx(np.abs(values.astype(np.float32)).max())
    assert sum(channel.counts) == len(values)
    assert len(found.latents) == 4
    assert len(channel.counts) == BINS


def test_bytes_and_rejects_are_those_of_all(toy: ShardSet) -> None:
    found = survey(toy, [0])
    assert dict(found.field_bytes)["tokens"] == 40 * 5 * 4
    assert found.record_bytes is not None
    assert sum(found.record_bytes.counts) == 12
    assert found.rejects == [("image9999", "truncated JPEG")]
