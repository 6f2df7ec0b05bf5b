"""Captions that are dropped: by the stated rule alone, about as many as asked for, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import ConfigError
from shards.reading.caption_drop import CaptionDrop
from shards.reading.order import order_of
from shards.reading.permutation import keyed
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream

EMPTY = np.full(5, 7, np.int32)  # a row of the toy set's tokens


def read(shards: ShardSet, drop: CaptionDrop | None, position: int = 0, **options: Any) -> list[tuple]:
    """(position, item, row, tokens, latent, dropped) of two epochs."""
    unit = options.get("unit", "item")
    order = order_of(shards, seed=1, unit=unit)
    found = []
    with BatchStream(
        shards, order, batch_size=4, position=position, stop=2 * order.n_items, fields=("tokens", "gist"),
        draw_seed=5, drop=drop, threads=0, **options,
    ) as stream:  # fmt: skip
        for batch in stream:
            for place in range(len(batch)):
                sample = batch.sample(place)
                assert batch.dropped is None or bool(batch.dropped[place]) == sample.is_dropped
                arrays = [batch.arrays[name][place].tolist() for name in ("tokens", "gist")]
                found.append((sample.position, sample.global_item, sample.row, *arrays, sample.is_dropped))
    return found


@pytest.mark.parametrize("unit", ["item", "row"])
def test_a_sample_is_dropped_by_seed_epoch_and_number_alone(toy: ShardSet, unit: str) -> None:
    plain, dropped = read(toy, None, unit=unit), read(toy, CaptionDrop(0.3, {"tokens": EMPTY}), unit=unit)
    order = order_of(toy, seed=1, unit=unit)
    for before, after in zip(plain, dropped, strict=True):
        position = before[0]
        sample = order.at(np.array([position]))
        draw = int(keyed(5, 0x64726F70, np.array([position // order.n_items]), sample)[0]) / 2**64
        assert after[5] == (draw < 0.3)
        assert after[:3] == before[:3], "which sample and which row it is does not depend on the share"
        assert after[3] == (EMPTY.tolist() if after[5] else before[3])
        assert after[4] == before[4]
    epochs = [{one[0] % order.n_items for one in dropped[start : start + order.n_items] if one[5]}
              for start in (0, order.n_items)]  # fmt: skip
    assert epochs[0] != epochs[1]


@given(rank=st.integers(0, 1), position=st.integers(0, 40), share=st.floats(0, 1))
def test_ranks_and_resumes_drop_the_same_samples(toy_root, rank: int, position: int, share: float) -> None:
    toy, drop = ShardSet.open(toy_root), CaptionDrop(share, {"tokens": EMPTY})
    whole = {one[0]: one for one in read(toy, drop)}
    for one in read(toy, drop, position, rank=rank, world=2):
        assert one == whole[one[0]]


def test_about_as_many_as_asked_for_and_more_for_a_larger_share() -> None:
    epochs, samples = np.divmod(np.arange(40_000), 1000)
    few, many = (CaptionDrop(share, {"tokens": EMPTY}).of(3, epochs, samples) for share in (0.1, 0.5))
    assert abs(few.mean() - 0.1) < 0.006
    assert abs(many.mean() - 0.5) < 0.01
    assert not (few & ~many).any()
    for share, expected in ((0.0, False), (1.0, True)):
        assert (CaptionDrop(share, {"tokens": EMPTY}).of(3, epochs, samples) == expected).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CaptionDrop(1.5, {"tokens": EMPTY}), "share 1.5; expected a number from 0 to 1"),
        (lambda: CaptionDrop("a", {"tokens": EMPTY}), "share 'a'; expected a number from 0 to 1"),  # type: ignore[arg-type]
        (lambda: CaptionDrop(float("nan"), {"tokens": EMPTY}), "share nan; expected a number from 0 to 1"),
        (lambda: CaptionDrop(0.5, EMPTY), "is ndarray; expected a row for each field"),  # type: ignore[arg-type]
        (lambda: CaptionDrop(0.1, {}), "names no field"),
    ],
)
def test_what_is_no_drop_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("empty", "message"),
    [
        ({"latent": EMPTY}, r"names latent, which is not in fields=\['tokens', 'gist'\]"),
        ({"tokens": EMPTY[:3]}, r"int32 \[3\], a row of the set is int32 \[5\]"),
        ({"tokens": EMPTY.astype(np.int64)}, r"int64 \[5\], a row of the set is int32 \[5\]"),
    ],
)
def test_what_cannot_stand_in_a_batch_is_refused(toy: ShardSet, empty: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(toy, CaptionDrop(0.5, empty))
