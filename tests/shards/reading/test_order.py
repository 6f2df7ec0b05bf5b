"""Orders: every item exactly once an epoch, the same for any way of asking."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import ConfigError
from shards.reading.order import Order, check_world, keyed, order_of, permute, rank_slice
from shards.reading.window import WindowedOrder

Sizes = tuple[int, ...]
SEEDS = st.integers(-(2**63), 2**64)
SHARD_SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=9).map(tuple)


@given(st.integers(1, 300), SEEDS, st.integers(0, 5), st.booleans())
def test_every_item_comes_once_an_epoch(n_items: int, seed: int, epoch: int, shuffle: bool) -> None:
    items = Order(n_items, seed, shuffle).items(epoch * n_items, (epoch + 1) * n_items)
    assert sorted(items.tolist()) == list(range(n_items))


def test_a_fixed_order_is_the_same_in_every_epoch() -> None:
    fixed, first = Order(50, 3, fixed=True), Order(50, 3).items(0, 50).tolist()
    assert [fixed.items(50 * epoch, 50 * epoch + 50).tolist() for epoch in range(3)] == [first] * 3
    assert sorted(first) == list(range(50)) != first


def test_a_window_has_no_fixed_order() -> None:
    class Counts:
        mixing = None
        part_shards = (2,)

        def shard_items(self, unit: str = "item") -> tuple[int, ...]:
            return (4, 4)

    assert order_of(Counts(), seed=1, fixed=True) == Order(8, 1, fixed=True)
    with pytest.raises(ConfigError, match=r"data\.order is fixed and data\.window_shards 1"):
        order_of(Counts(), seed=1, window_shards=1, fixed=True)


@given(SHARD_SIZES, SEEDS, st.integers(0, 3), st.integers(1, 12))
def test_a_window_keeps_every_item_once_an_epoch(sizes: Sizes, seed: int, epoch: int, window: int) -> None:
    order = WindowedOrder(sizes, seed, window)
    items = order.items(epoch * order.n_items, (epoch + 1) * order.n_items)
    assert sorted(items.tolist()) == list(range(sum(sizes)))


@given(SHARD_SIZES, SEEDS, st.integers(0, 60), st.integers(0, 40), st.integers(1, 5))
def test_any_range_equals_the_positions_one_by_one(
    sizes: tuple[int, ...], seed: int, start: int, count: int, window: int
) -> None:
    for order in (Order(sum(sizes), seed), WindowedOrder(sizes, seed, window)):
        alone = [int(order.items(position, position + 1)[0]) for position in range(start, start + count)]
        assert order.items(start, start + count).tolist() == alone


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), SEEDS)
def test_permute_is_a_bijection_for_many_sizes_at_once(sizes: list[int], seed: int) -> None:
    index = np.concatenate([np.arange(size) for size in sizes])
    repeated = np.repeat(sizes, sizes)
    image = permute(index, repeated, keyed(seed, np.repeat(np.arange(len(sizes)), sizes)))
    start = 0
    for size in sizes:
        assert sorted(image[start : start + size].tolist()) == list(range(size))
        start += size


def test_all_permutations_of_a_small_set_are_about_equally_likely() -> None:
    seen = Counter(tuple(Order(4, seed).items(0, 4).tolist()) for seed in range(2400))
    assert len(seen) == 24
    assert sum((count - 100) ** 2 / 100 for count in seen.values()) < 60  # chi-square, p about 4e-5


def test_epochs_and_seeds_give_unrelated_orders() -> None:
    n_items = 5000
    first, second, other = (
        Order(n_items, 1).items(0, n_items),
        Order(n_items, 1).items(n_items, 2 * n_items),
        Order(n_items, 2).items(0, n_items),
    )
    for one, two in ((first, second), (first, other), (first, np.arange(n_items)), (first[:-1], first[1:])):
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.06  # four standard deviations


def test_the_order_is_the_same_on_every_machine() -> None:
    """Golden: a change here breaks the resume of running trainings."""
    assert Order(1000, 7).items(998, 1004).tolist() == [736, 352, 229, 285, 694, 360]
    assert WindowedOrder((5, 9, 4), 7, 2).items(0, 9).tolist() == [17, 14, 7, 6, 5, 15, 16, 11, 1]


@given(SHARD_SIZES, SEEDS, st.integers(1, 5))
def test_a_window_uses_few_shards_at_a_time_and_each_for_one_stretch(
    sizes: tuple[int, ...], seed: int, window: int
) -> None:
    order = WindowedOrder(sizes, seed, window)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    shards = owner[order.items(0, order.n_items)].tolist()
    first = {shard: shards.index(shard) for shard in set(shards)}
    last = {shard: len(shards) - 1 - shards[::-1].index(shard) for shard in set(shards)}
    for position, shard in enumerate(shards):
        in_use = [other for other in first if first[other] <= position <= last[other]]
        assert len(in_use) <= 2 * window - 1  # shards between their first and their last item
        near = order.shards_near(position, ahead=0)
        assert shard in near
        assert len(near) <= window


def test_shards_near_looks_over_the_end_of_an_epoch() -> None:
    order = WindowedOrder((4, 4, 4, 4), 3, 2)
    owner = np.repeat(np.arange(4), 4)
    for position in range(2 * order.n_items):
        near = order.shards_near(position, ahead=2)
        assert owner[order.items(position, position + 1)[0]] in near
    long = WindowedOrder((64,) * 40, 3, window=4)  # phases of 16, 32, 48 samples at the start, 64 later
    for position in (0, 16, 500, 64 * 39, 64 * 40 - 1, 64 * 40):
        near = long.shards_near(position, ahead=2)
        assert len(near) in (5, 6), "at both ends, too; a shard may be among the last and the next ones"
    assert len(long.shards_near(64 * 40 - 1, ahead=2, stop=64 * 40)) == 1
    start_of_next = owner[order.items(16, 17)[0]]
    assert start_of_next in order.shards_near(15, ahead=2)


def test_a_window_mixes_neighbouring_shards() -> None:
    order = WindowedOrder((100,) * 10, 0, 4)
    owner = np.repeat(np.arange(10), 100)
    middle = owner[order.items(400, 500)]
    assert len(set(middle.tolist())) >= 4
    assert order.items(0, 1000).tolist() != order.items(1000, 2000).tolist()


@given(st.integers(0, 200), st.integers(1, 17))
def test_rank_slices_share_a_batch_out_completely_and_evenly(count: int, world: int) -> None:
    slices = [rank_slice(count, rank, world) for rank in range(world)]
    assert [place for part in slices for place in range(part.start, part.stop)] == list(range(count))
    lengths = [part.stop - part.start for part in slices]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("batch_size", "rank", "world"), [(8, 0, 3), (0, 0, 1), (8, 2, 2), (8, -1, 2)])
def test_batches_that_cannot_be_shared_evenly_are_refused(batch_size: int, rank: int, world: int) -> None:
    with pytest.raises(ConfigError):
        check_world(batch_size, rank, world)


def test_orders_of_nothing_are_refused() -> None:
    for broken in (
        lambda: Order(0, 1),
        lambda: WindowedOrder((), 1, 2),
        lambda: WindowedOrder((3, 0), 1, 2),
        lambda: WindowedOrder((3,), 1, 0),
    ):
        with pytest.raises(ConfigError):
            broken()


def test_an_order_that_was_asked_is_pickled_without_what_it_knows_of_this_process() -> None:
    order = WindowedOrder((5, 9, 4), 7, 2)
    expected = order.items(0, 40).tolist()
    for copied in (pickle.loads(pickle.dumps(order)), copy.copy(order), copy.deepcopy(order)):
        assert copied == order
        assert "_tables" in vars(order)
        assert "_tables" not in vars(copied)
        assert copied.items(0, 40).tolist() == expected
