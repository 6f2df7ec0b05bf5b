"""Turns of a mixture are exact, near their shares, and each set's own order; sets that do not fit are refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import ConfigError, ContractError, FingerprintMismatch, SchemaMismatch
from shards.reading.joined import JoinedSet, joined_manifest
from shards.reading.mixing import Mixing, Stage, Turns, shares_of, weights_of
from shards.reading.mixture import MixedOrder, MixedWindow
from shards.reading.order import Order, order_of
from shards.reading.reader import ShardSet
from shards.reading.stream import BatchStream
from shards.reading.subset import subset_of
from shards.reading.window import WindowedOrder
from shards.storage.cache import CacheConfig
from tests.shards.toy_set import flip_byte, write_toy_set

shares = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any).map(tuple)
ratios = st.lists(shares, min_size=1, max_size=3).filter(lambda every: len({len(one) for one in every}) == 1)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[ShardSet]:
    folder = tmp_path_factory.mktemp("mixed")
    for name, sizes in (("a", (3, 2)), ("b", (2,)), ("c", (1, 4, 3))):
        write_toy_set(folder / name, sizes)
    return [ShardSet.open(folder / name) for name in "abc"]


@settings(max_examples=30)
@given(every=ratios, gaps=st.lists(st.integers(1, 30), min_size=2, max_size=2), start=st.integers(0, 10**12))
def test_each_draw_is_the_next_one_of_one_set(every: list[tuple[int, ...]], gaps: list[int], start: int) -> None:
    begins = tuple(np.cumsum([0, *gaps]).tolist()[: len(every)])
    turns = Turns(begins, tuple(every))
    for first in (0, start):
        draws = np.arange(first, first + 90)
        which, own = turns.of(draws)
        had = turns.counts(np.array([first]))[:, 0].tolist()
        for one, number in zip(which.tolist(), own.tolist(), strict=True):
            assert number == had[one], "the next of its set, whichever it is"
            had[one] += 1
        assert had == turns.counts(np.array([first + 90]))[:, 0].tolist()
    for n_draws in (1, 7, 60):
        runs = turns.counts(np.arange(n_draws, 200)) - turns.counts(np.arange(200 - n_draws))
        assert (runs.max(axis=1) <= turns.most(n_draws)).all()


@given(ratio=shares, periods=st.integers(0, 10**9), within=st.integers(0, 50))
def test_counts_are_exact_every_period_and_never_far_from_the_weights(
    ratio: tuple[int, ...], periods: int, within: int
) -> None:
    turns, total = Turns((0,), (ratio,)), sum(ratio)
    assert turns.counts(np.array([periods * total]))[:, 0].tolist() == [periods * share for share in ratio]
    draws = periods * total + within
    counts = turns.counts(np.array([draws]))[:, 0].tolist()
    assert sum(counts) == draws
    away = [abs(count - periods * share - within * share / total) for count, share in zip(counts, ratio, strict=True)]
    assert max(away) <= 2 + math.log(len(ratio))


def test_weights_become_whole_numbers_in_their_ratio() -> None:
    assert shares_of([0.7, 0.2, 0.1], 3) == (7, 2, 1)
    assert shares_of([np.float32(0.5), 2], 2) == (1, 4)
    assert shares_of([3e9, 1e9], 2) == (3, 1)
    assert shares_of([1, 0, 1e-300], 3) == (2**30, 0, 1), "as near as 31 bits go, and never lost"
    assert Mixing().turns([6, 4]).shares == ((3, 2),)
    assert Mixing(temperature=math.inf).turns([900, 4]).shares == ((1, 1),)
    low, high = Mixing(temperature=2).turns([900, 4]).shares[0]
    assert low / high == pytest.approx(15)
    assert Mixing((2, 1), stages=(Stage(50, (1, 3)),)).turns([5, 5]) == Turns((0, 50), ((2, 1), (1, 3)))


def test_by_size_every_sample_comes_once_an_epoch(parts: list[ShardSet]) -> None:
    joined = JoinedSet(parts, Mixing())
    for window in (0, 2):
        order = order_of(joined, seed=4, window_shards=window)
        assert isinstance(order, MixedWindow if window else MixedOrder)
        for epoch in range(3):
            places = np.arange(epoch * joined.n_items, (epoch + 1) * joined.n_items)
            assert sorted(order.at(places).tolist()) == list(range(joined.n_items))
            assert order.epochs(places).tolist() == [epoch] * joined.n_items


def test_a_set_has_in_a_mixture_the_order_it_has_alone(parts: list[ShardSet]) -> None:
    joined = JoinedSet(parts, Mixing((5, 1, 2)))
    order = order_of(joined, seed=4)
    positions = np.arange(400)
    samples, epochs = order.at(positions), order.epochs(positions)
    ends = np.cumsum([part.n_items for part in parts])
    which = np.searchsorted(ends, samples, side="right")
    assert np.bincount(which).tolist() == [250, 50, 100]
    for place, part in enumerate(parts):
        alone = order_of(part, seed=4)
        expected = np.arange((which == place).sum())
        assert (samples[which == place] - ends[place] + part.n_items).tolist() == alone.at(expected).tolist()
        assert epochs[which == place].tolist() == alone.epochs(expected).tolist()


def test_what_is_read_is_what_lies_there(parts: list[ShardSet]) -> None:
    joined = JoinedSet(parts, Mixing((1, 2, 1)))
    with BatchStream(joined, order_of(joined, seed=2), batch_size=6, stop=60, fields=("latent", "tokens")) as stream:
        for batch in stream:
            which = joined.part_of(batch.records)
            assert sorted(np.bincount(which, minlength=3).tolist()) == [1, 2, 3] or (batch.position % 12 == 0)
            for place in range(6):
                part = parts[which[place]]
                own = int(batch.records[place]) - sum(one.n_records for one in parts[: which[place]])
                record = part.record(own)
                assert batch.keys[place] == record.key == batch.sample(place).record.key
                row = int(batch.rows[place])
                assert batch.arrays["tokens"][place].tolist() == record.array("tokens")[row].tolist()
                assert batch.sample(place).meta == record.meta
                assert 0 <= batch.sample(place).item < len(record.meta["items"])


def test_a_windowed_mixture_names_the_shards_it_is_about_to_read(parts: list[ShardSet]) -> None:
    joined = JoinedSet(parts, Mixing((3, 0, 1)))
    order = order_of(joined, seed=2, window_shards=1)
    assert isinstance(order, MixedWindow)
    positions = np.arange(120)
    shard_of = joined.index.shard[joined.index.items[order.at(positions), 0]]
    for position in positions.tolist():
        near = order.shards_near(position, 1)
        assert shard_of[position] in near
        assert 2 not in near, "a set without a turn is not fetched"
    for n_samples in (1, 5, 20):
        most = max(len(set(shard_of[start : start + n_samples])) for start in range(100))
        assert most <= order.most_shards(n_samples)


@pytest.mark.parametrize("n_sets", [1, 3, 6])
def test_room_is_counted_for_the_next_shards_of_every_set(n_sets: int) -> None:
    sets = tuple(WindowedOrder((64,) * 40, seed, window=2) for seed in range(n_sets))
    order = MixedWindow(sets, Turns((0,), ((1,) * n_sets,)))
    for n_samples in (8, 64):
        held = [
            {shard for position in range(start, start + n_samples) for shard in order.shards_near(position, 2)}
            for start in range(0, order.n_items, 251)
        ]
        assert max(map(len, held)) <= order.most_shards(n_samples, 2)


def test_remote_sets_are_mixed_through_one_cache(tmp_path: Path) -> None:
    bucket = f"memory://{tmp_path.name}"
    for name in "ab":
        write_toy_set(tmp_path / name, (2, 3, 2))
        fsspec.filesystem("memory").put(str(tmp_path / name), f"{bucket}/{name}", recursive=True)
    cache = CacheConfig(str(tmp_path / "cache"), 10**7)
    remote = JoinedSet([ShardSet.open(f"{bucket}/{name}", cache=cache) for name in "ab"], Mixing((2, 1)))
    local = JoinedSet([ShardSet.open(tmp_path / "a"), ShardSet.open(f"{bucket}/b", cache=cache)], Mixing((2, 1)))
    latents = []
    for joined in (remote, local):
        assert joined.cache is not None
        order = order_of(joined, seed=3, window_shards=2)
        with BatchStream(joined, order, batch_size=5, stop=2 * joined.n_items, fields=("latent",)) as stream:
            latents.append([batch.arrays["latent"].copy() for batch in stream])
    assert all(np.array_equal(*both) for both in zip(*latents, strict=True))
    small = CacheConfig(str(tmp_path / "little"), 30_000)
    joined = JoinedSet([ShardSet.open(f"{bucket}/{name}", cache=small) for name in "ab"], Mixing())
    with pytest.raises(ConfigError, match=r"this order uses 6 shards.*lower window=2"):
        BatchStream(joined, order_of(joined, seed=3, window_shards=2), batch_size=5)
    room = sum(shard.tar_bytes for shard in joined.parts[1].manifest.shards)
    fitting = CacheConfig(str(tmp_path / "fitting"), room)  # what is here already needs none of it
    half = JoinedSet([ShardSet.open(tmp_path / "a"), ShardSet.open(f"{bucket}/b", cache=fitting)], Mixing())
    BatchStream(half, order_of(half, seed=3), batch_size=5).close()


def test_a_damaged_shard_is_named_with_its_own_folder(tmp_path: Path) -> None:
    for name in "ab":
        write_toy_set(tmp_path / name, (2,))
    tar = tmp_path / "b" / "b-000000.tar"
    joined = JoinedSet([ShardSet.open(tmp_path / name) for name in "ab"], Mixing())
    flip_byte(tar, int(joined.index.fields["latent"].offset[2]))
    with pytest.raises(ContractError, match=rf"b-000000.tar in {tmp_path / 'b'}: record image0000, field latent"):
        list(BatchStream(joined, order_of(joined, seed=0), batch_size=1, stop=6, fields=("latent",)))


@pytest.mark.parametrize(
    ("mixing", "message"),
    [
        (lambda: Mixing((1, 2)), r"2 weights \(1, 2\) for 3 sets; give one for each"),
        (lambda: Mixing((1, -2, 1)), "weights are 1, -2, 1; expected numbers from 0"),
        (lambda: Mixing((0, 0, 0)), "one of them above it"),
        (lambda: Mixing((1, math.nan, 1)), "expected numbers from 0"),
        (lambda: Mixing(temperature=0), "temperature is 0"),
        (lambda: Mixing((1, 1, 1), temperature=2), "leave one out"),
        (lambda: Mixing(stages=(Stage(9, (1, 1, 1)), Stage(3, (1, 1, 1)))), r"begin at samples \[9, 3\]"),
        (lambda: Mixing(stages=(Stage(9, (1, 1)),)), "2 weights"),
        (lambda: Mixing(weights_of([1, None, 2])), "2 of 3 sets have a weight"),
    ],
)
def test_weights_that_do_not_match_are_refused(parts: list[ShardSet], mixing: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JoinedSet(parts, mixing())  # type: ignore[operator]


def test_sets_that_differ_are_refused(parts: list[ShardSet]) -> None:
    one, other = parts[0].manifest, parts[1].manifest
    with pytest.raises(ConfigError, match="a mixture of 1 sets"):
        joined_manifest([one], Mixing())
    wider = replace(other.schema.fields[1], shape=("S", 6))
    schema = replace(other.schema, fields=(other.schema.fields[0], wider, *other.schema.fields[2:]))
    with pytest.raises(SchemaMismatch, match=r"a and b cannot be mixed: of field tokens the one has .*5.*6"):
        joined_manifest([one, replace(other, schema=schema)], Mixing())
    with pytest.raises(SchemaMismatch, match=r"with items over sentence.*over view"):
        joined_manifest([one, replace(other, schema=replace(other.schema, item_axis="view"))], Mixing())
    with pytest.raises(SchemaMismatch, match="their tables classes differ"):
        joined_manifest([one, replace(other, tables=())], Mixing())
    encoded = {**other.recipe, "image_encoder": {"weights": "99"}}
    with pytest.raises(FingerprintMismatch, match=r"other encoders made them:\n  image_encoder.weights: absent here"):
        joined_manifest([one, replace(other, recipe=encoded)], Mixing())


def test_a_mixture_is_neither_mixed_again_nor_cut(parts: list[ShardSet]) -> None:
    joined = JoinedSet(parts[:2], Mixing((1, 2)))
    with pytest.raises(ConfigError, match=r"a \+ b is a mixture itself, whose own weights would be lost"):
        JoinedSet([joined, parts[2]], Mixing())
    with pytest.raises(ConfigError, match=r"a \+ b is a mixture, and a subset is of one set"):
        subset_of(joined, np.array([0, 6]))


def test_other_weights_are_another_mixture(parts: list[ShardSet]) -> None:
    weights = (None, (1, 1, 1), (1, 2, 1))
    prints = {JoinedSet(parts, Mixing(one) if one else Mixing()).manifest.fingerprint for one in weights}
    assert len(prints | {part.manifest.fingerprint for part in parts}) == 4
    halves = [JoinedSet(parts, Mixing(weights)).manifest.fingerprint for weights in ((1, 2, 1), (0.25, 0.5, 0.25))]
    assert halves[0] == halves[1], "the same rule"
    assert order_of(parts[0], seed=1) == Order(parts[0].n_items, 1), "a set alone is as ever"
